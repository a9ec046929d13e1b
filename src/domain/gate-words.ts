/** A readiness gate in an operator's words: the same ones in plans, live views and reports. */
import type { ReadinessGate } from './recovery-plan.ts';

export function describeGate(gate: ReadinessGate): string {
  switch (gate.gate) {
    case 'running':
      return 'running';
    case 'guest-agent':
      return 'its guest agent reports';
    case 'address':
      return `it has an address in ${gate.subnets.join(' or ')}`;
    case 'tcp':
      return `TCP port ${gate.port} answers`;
    case 'http': {
      const holds = gate.contains === null ? '' : ` and ${JSON.stringify(gate.contains)}`;
      const name = gate.host === null ? '' : ` for ${gate.host}`;
      const unproven = gate.tls && !gate.verify ? ' (certificate not looked at)' : '';
      return `${gate.tls ? 'HTTPS' : 'HTTP'} port ${gate.port} answers ${gate.path}${name} with ${gate.status.join(' or ')}${holds}${unproven}`;
    }
    case 'command':
      return `${gate.argv.join(' ')} inside it, as ${gate.user}, ends with ${gate.exitCode}`;
  }
}
