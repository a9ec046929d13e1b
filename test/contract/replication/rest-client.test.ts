/** The client of every REST adapter, against a real TLS server on loopback. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { basicLogin, type Login, RestClient } from '../../../src/adapters/replication/rest/client.ts';
import { busy, failureOfStatus } from '../../../src/adapters/replication/rest/errors.ts';
import { restEndpointOf } from '../../../src/adapters/replication/rest/options.ts';
import { pollUntil } from '../../../src/adapters/replication/rest/poll.ts';
import { OperatorError, PortError } from '../../../src/domain/errors.ts';
import type { ArraySettings } from '../../../src/domain/settings.ts';
import type { Clock } from '../../../src/ports/system.ts';
import { type DoubleAnswer, type DoubleRequest, lost, startHttpsDouble } from './doubles/https-double.ts';
import { failureOf } from './failure.ts';

let answer: (request: DoubleRequest) => DoubleAnswer | typeof lost = () => ({ status: 200, body: {} });
const server = await startHttpsDouble((request) => answer(request));
t.teardown(() => server.stop());

const settings: ArraySettings = { name: 'aff', site: 'tokyo', type: 'any', options: {}, secret: null };
const password = 'not-to-be-told';
const pin = server.certificate.sha256.replaceAll(':', '').toLowerCase();

function open(
  trust: { readonly fingerprint?: string; readonly ca_file?: string } = { fingerprint: pin },
  login: Login = basicLogin('lifeboat', () => Promise.resolve(password)),
): RestClient {
  const client = new RestClient(restEndpointOf(settings, { url: server.url, ...trust }), login);
  t.teardown(() => client.close());
  return client;
}

t.test('an answer of any status comes back with its JSON', async (t) => {
  const seen: DoubleRequest[] = [];
  answer = (request) => {
    seen.push(request);
    return { status: 404, body: { error: { code: '4' } } };
  };
  const given = await open().send({ method: 'PATCH', path: '/api/x?y=1', body: { state: 'paused' } });
  t.match(given, { status: 404, body: { error: { code: '4' } } });
  t.match(seen[0], { method: 'PATCH', path: '/api/x', body: { state: 'paused' } });
  const expected = `Basic ${Buffer.from(`lifeboat:${password}`).toString('base64')}`;
  t.equal(seen[0]?.headers.authorization, expected);
  answer = () => ({ status: 202 });
  t.equal((await open().send({ method: 'GET', path: '/' })).body, null);
});

t.test('nothing is sent to a server with another certificate', async (t) => {
  const before = server.requests.length;
  const error = await failureOf(open({ fingerprint: '00'.repeat(32) }).send({ method: 'GET', path: '/' }));
  t.match(error, { kind: 'trust', problem: { code: 'DR-ARRAY-CERTIFICATE' } });
  t.match(error.message, pin, 'what it shows is told');
  t.equal(server.requests.length, before);
});

t.test('a certificate is known by its authority, too', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'rest-client-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const right = join(directory, 'ca.pem');
  writeFileSync(right, server.certificate.cert);
  answer = () => ({ status: 200, body: [1] });
  t.same((await open({ ca_file: right }).send({ method: 'GET', path: '/' })).body, [1]);
  const wrong = join(directory, 'other.pem');
  const { selfSigned } = await import('../../../src/lab/server/certificate.ts');
  writeFileSync(wrong, selfSigned('other', ['127.0.0.1'], 'other').cert);
  t.equal((await failureOf(open({ ca_file: wrong }).send({ method: 'GET', path: '/' }))).kind, 'trust');
  const absent = join(directory, 'absent.pem');
  t.equal((await failureOf(open({ ca_file: absent }).send({ method: 'GET', path: '/' }))).kind, 'trust');
  t.throws(() => restEndpointOf(settings, { url: server.url }), OperatorError);
  t.throws(
    () => restEndpointOf(settings, { url: server.url, fingerprint: pin, ca_file: '/x' }),
    OperatorError,
  );
});

t.test('without answer a read is unreachable and a verb unknown', async (t) => {
  answer = () => lost;
  const client = open();
  t.equal((await failureOf(client.send({ method: 'GET', path: '/' }))).kind, 'unreachable');
  t.equal((await failureOf(client.send({ method: 'POST', path: '/', readOnly: true }))).kind, 'unreachable');
  const error = await failureOf(client.send({ method: 'DELETE', path: '/api/x?secret=1' }));
  t.match(error, { kind: 'outcome-unknown', problem: { code: 'DR-ARRAY-OUTCOME-UNKNOWN' } });
  t.match(error.message, /DELETE \/api\/x,/);
});

t.test('a server that is off did nothing; back again it is spoken to', async (t) => {
  answer = () => ({ status: 200, body: {} });
  const client = open();
  await client.send({ method: 'GET', path: '/' });
  await server.powerOff();
  t.equal((await failureOf(client.send({ method: 'POST', path: '/', body: {} }))).kind, 'unreachable');
  await server.powerOn();
  t.equal((await client.send({ method: 'GET', path: '/' })).status, 200);
});

t.test('a caller that stops hears that it was stopped', async (t) => {
  const stop = new AbortController();
  const client = open();
  const stopped = await failureOf(client.send({ method: 'GET', path: '/', signal: AbortSignal.abort() }));
  t.equal(stopped.kind, 'cancelled');
  answer = () => {
    stop.abort();
    return { status: 200, body: {} };
  };
  const while_ = await failureOf(client.send({ method: 'GET', path: '/', signal: stop.signal }));
  t.equal(while_.kind, 'cancelled');
});

t.test('text that is not JSON is kept, without the password', async (t) => {
  answer = () => ({ status: 200, text: `<html>${password}</html>` });
  const error = await failureOf(open().send({ method: 'GET', path: '/' }));
  t.equal(error.kind, 'protocol');
  t.match(error.message, '<html>***</html>');
  answer = () => ({ status: 502, text: '<html>' });
  t.match(await open().send({ method: 'GET', path: '/' }), { status: 502, body: null });
});

t.test('a session that has expired is begun anew once', async (t) => {
  let valid = 0;
  answer = ({ path, headers }) => {
    if (path === '/login') {
      valid += 1;
      return { status: 200, body: valid };
    }
    return headers['token'] === String(valid) ? { status: 200, body: 'in' } : { status: 401 };
  };
  let token: string | null = null;
  const login: Login = {
    headers: async (send) => {
      token ??= String((await send({ method: 'POST', path: '/login', readOnly: true })).body);
      return { token };
    },
    hasExpired: ({ status }) => {
      if (status === 401) token = null;
      return status === 401;
    },
    secrets: () => [],
  };
  const client = open({ fingerprint: pin }, login);
  t.equal((await client.send({ method: 'GET', path: '/x' })).body, 'in');
  valid = 7;
  t.equal((await client.send({ method: 'GET', path: '/x' })).body, 'in');
  t.equal(valid, 8);
  const before = server.requests.length;
  answer = ({ path }) => (path === '/login' ? { status: 200, body: 1 } : { status: 401 });
  t.equal((await client.send({ method: 'GET', path: '/x' })).status, 401, 'and not for ever');
  t.equal(server.requests.length - before, 3);
});

t.test('statuses and their kinds', async (t) => {
  const named = { array: 'aff', url: server.url };
  const kindOf = (status: number) =>
    failureOfStatus(named, 'GET /x', status, 'its words', 'user lifeboat').kind;
  t.same([401, 403, 404, 409, 423, 429, 500, 503].map(kindOf), [
    'auth',
    'auth',
    'refused',
    'refused',
    'busy',
    'busy',
    'refused',
    'busy',
  ]);
  t.match(failureOfStatus(named, 'GET /x', 500, 'its words', 'u').message, /its words/);
});

t.test('waiting forgives three lost looks, and ends when nothing moves', async (t) => {
  let now = 0;
  const clock: Clock = {
    now: () => new Date(now * 1000).toISOString(),
    monotonicSeconds: () => now,
    sleep: async (seconds, signal) => {
      signal?.throwIfAborted();
      now += seconds;
    },
  };
  const endpoint = { array: 'aff', url: server.url };
  const pace = { firstSeconds: 1, longestSeconds: 10, patienceSeconds: 60 };
  const waiting = { endpoint, clock, pace, signal: undefined };
  const late = (seen: unknown) => busy(endpoint, `late at ${String(seen)}`, 'late');
  const looks = ['a', busy(endpoint, '', '1'), busy(endpoint, '', '1'), busy(endpoint, '', '1'), 'b', 'done'];
  const look = async (): Promise<string> => {
    const next = looks.shift() ?? 'stuck';
    if (next instanceof PortError) throw next;
    return next;
  };
  t.equal(await pollUntil(waiting, { look, done: (seen) => seen === 'done', late }), 'done');
  const began = now;
  const error = await failureOf(pollUntil(waiting, { look, done: () => false, late }));
  t.match(error.message, /late at stuck/);
  t.ok(now - began > 60 && now - began < 90);
  looks.push(...Array.from({ length: 4 }, () => 'x'));
  const lostLook = async (): Promise<string> => {
    throw busy(endpoint, 'four in a row', '1');
  };
  t.match(
    (await failureOf(pollUntil(waiting, { look: lostLook, done: () => true, late }))).message,
    /four in a row/,
  );
  const signal = AbortSignal.abort();
  const stopped = await failureOf(pollUntil({ ...waiting, signal }, { look, done: () => false, late }));
  t.equal(stopped.kind, 'cancelled');
});
