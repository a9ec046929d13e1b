/** The control socket of a running lab: one JSON request per connection, one JSON answer. */
import { connect, createServer, type Server } from 'node:net';
import type { Lab } from '../core/lab.ts';
import type { LabPool } from '../core/pool.ts';
import { ledgerOf } from '../vm/index.ts';
import { readDisk, writeDisk } from './disks.ts';
import { activeFaults, addFault, clearFaults, removeFault, setLinks } from './faults.ts';

export type ControlRequest =
  | { readonly verb: 'status' | 'stop' | 'violations' | 'calls' | 'forget-calls' | 'faults' | 'clear-faults' }
  | { readonly verb: 'kill' | 'revive'; readonly what: 'site' | 'host' | 'link'; readonly name: string }
  | { readonly verb: 'fault'; readonly rule: unknown }
  | { readonly verb: 'remove-fault'; readonly id: string }
  | {
      readonly verb: 'read';
      readonly site: string;
      readonly vm: string;
      readonly disk: string;
      readonly offset: number;
      readonly length: number;
    }
  | {
      readonly verb: 'write';
      readonly site: string;
      readonly vm: string;
      readonly disk: string;
      readonly offset: number;
      readonly data: string;
    };

export type ControlAnswer = { readonly ok: unknown } | { readonly error: string };

function statusOf(pool: LabPool): unknown {
  const states: Record<string, number> = {};
  for (const vm of pool.db.all('VM')) {
    if (vm.bool('is_control_domain') || vm.bool('is_a_template') || vm.bool('is_a_snapshot')) continue;
    const state = vm.text('power_state').toLowerCase();
    states[state] = (states[state] ?? 0) + 1;
  }
  return {
    pool: pool.name,
    site: pool.site,
    hosts: pool.hosts.map((host) => ({
      name: host.name,
      address: host.address,
      up: host.up,
      master: pool.master === host,
    })),
    vms: states,
  };
}

async function perform(lab: Lab, request: ControlRequest): Promise<unknown> {
  switch (request.verb) {
    case 'status':
      return [...lab.pools.values()].map(statusOf);
    case 'violations':
      return ledgerOf(lab).violations;
    case 'calls':
      return Object.fromEntries([...lab.counts].sort(([a], [b]) => (a < b ? -1 : 1)));
    case 'forget-calls':
      lab.forgetCalls();
      return null;
    case 'faults':
      return activeFaults(lab);
    case 'clear-faults':
      clearFaults(lab);
      return null;
    case 'fault':
      return addFault(lab, request.rule);
    case 'remove-fault':
      return removeFault(lab, request.id);
    case 'kill':
    case 'revive':
      await setPower(lab, request.what, request.name, request.verb === 'revive');
      return null;
    case 'read':
      return readDisk(lab, request).toString('base64');
    case 'write':
      return writeDisk(lab, { ...request, data: Buffer.from(request.data, 'base64') });
    case 'stop':
      return null;
  }
}

async function setPower(lab: Lab, what: 'site' | 'host' | 'link', name: string, up: boolean): Promise<void> {
  switch (what) {
    case 'link':
      return setLinks(lab, name, up);
    case 'site':
      return up ? lab.reviveSite(name) : lab.killSite(name);
    case 'host':
      return up ? lab.reviveHost(lab.host(name)) : lab.killHost(lab.host(name));
  }
}

/** Serves the socket; `stop` ends with `onStop`, once it is answered. */
export function serveControl(lab: Lab, path: string, onStop: () => void): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const pieces: Buffer[] = [];
    socket.on('error', () => socket.destroy());
    socket.on('data', (piece: Buffer) => pieces.push(piece));
    socket.on('end', () => {
      void answer(lab, Buffer.concat(pieces).toString()).then(({ text, stop }) => {
        socket.end(text, stop ? onStop : undefined);
      });
    });
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => resolve(server));
  });
}

async function answer(lab: Lab, text: string): Promise<{ text: string; stop: boolean }> {
  try {
    const request = JSON.parse(text) as ControlRequest;
    const ok = await perform(lab, request);
    return { text: JSON.stringify({ ok: ok ?? null }), stop: request.verb === 'stop' };
  } catch (error) {
    return {
      text: JSON.stringify({ error: error instanceof Error ? error.message : String(error) }),
      stop: false,
    };
  }
}

/** Asks a running lab. Throws what it complains about. */
export function ask(path: string, request: ControlRequest): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path, allowHalfOpen: true });
    const pieces: Buffer[] = [];
    socket.on('error', reject);
    socket.on('data', (piece: Buffer) => pieces.push(piece));
    socket.on('end', () => {
      socket.end();
      try {
        const answered = JSON.parse(Buffer.concat(pieces).toString()) as ControlAnswer;
        if ('error' in answered) reject(new Error(answered.error));
        else resolve(answered.ok);
      } catch (error) {
        reject(error instanceof Error ? error : new Error(String(error)));
      }
    });
    socket.end(JSON.stringify(request));
  });
}
