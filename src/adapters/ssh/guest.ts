/** A program inside a guest, for readiness gates: one login, one program, nothing kept. */
import { readFile } from 'node:fs/promises';
import { PortError } from '../../domain/errors.ts';
import type { GuestCommand, RunInGuest } from '../../ports/guests.ts';
import { SshConnection, type SshWritten } from './connection.ts';
import { hostKeysOf } from './known-hosts.ts';
import { runRemote } from './remote.ts';

const times = { connectSeconds: 10, keepaliveSeconds: 5 };
/** What a probe says is a sentence; more is a mistake. */
const maxOutputBytes = 64 * 1024;

export const runInGuest: RunInGuest = async (command, signal) => {
  const { argv, timeoutSeconds } = command;
  const privateKey = await textOf(command.keyFile, command);
  const connection = await connect(command, privateKey);
  try {
    return await runRemote(connection, argv, {
      effect: 'read',
      timeoutSeconds,
      signal,
      maxOutputBytes,
    });
  } finally {
    connection.close();
  }
};

/** A file may hold several keys for a guest; which of them it shows depends on the algorithms that both sides like. */
async function connect(command: GuestCommand, privateKey: string): Promise<SshConnection> {
  const keys = await hostKeys(command);
  let refusal: unknown = null;
  for (const hostKey of keys) {
    const { address: host, port, user: username } = command;
    try {
      return await SshConnection.connect(
        { host, port, username, hostKey, writtenIn: placeOf(command) },
        { privateKey, password: null },
        times,
      );
    } catch (error) {
      if (!(error instanceof PortError) || error.kind !== 'trust') throw error;
      refusal = error;
    }
  }
  throw refusal ?? unknownGuest(command);
}

function placeOf({ nameLabel, hostKey }: GuestCommand): SshWritten {
  return {
    place: `the command check of VM ${nameLabel} in its recovery plan`,
    keyField: 'key_file',
    ...('knownHostsFile' in hostKey ? { knownHostsFile: hostKey.knownHostsFile } : {}),
  };
}

async function hostKeys(command: GuestCommand): Promise<readonly string[]> {
  const { hostKey, nameLabel, address, port } = command;
  if ('pinned' in hostKey) return [hostKey.pinned];
  return hostKeysOf(await textOf(hostKey.knownHostsFile, command), [nameLabel, address], port);
}

async function textOf(file: string, { nameLabel }: GuestCommand): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new PortError(
      'auth',
      {
        code: 'DR-SSH-GUEST-FILE',
        what: `Cannot read ${file}, which a login to VM ${nameLabel} needs`,
        known: [error instanceof Error ? error.message : String(error)],
        next: 'Put the file there, readable for the user of Lifeboat, or correct its path in the recovery plan',
      },
      { cause: error },
    );
  }
}

function unknownGuest({ nameLabel, address, port, hostKey }: GuestCommand): PortError {
  const file = 'knownHostsFile' in hostKey ? hostKey.knownHostsFile : '';
  return new PortError('trust', {
    code: 'DR-SSH-GUEST-UNKNOWN',
    what: `File ${file} has no host key of VM ${nameLabel}`,
    known: [`looked for ${nameLabel} and ${address}, port ${port}; nothing was sent to it`],
    next: `In the guest run: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub; then add its public key to ${file} under the name of the VM`,
  });
}
