/** Sessions: login, logout, validity, caps (xapi.md 1.5). */
import type { Row } from './database.ts';
import { newRef } from './database.ts';
import { fail } from './failure.ts';
import type { LabHost, LabPool } from './pool.ts';
import type { Registry } from './registry.ts';

/** A refused login is answered after this many seconds (xapi.md 1.5: 2 to 5). */
const refusalSeconds = 2;
const sessionsPerOriginator = 500;
const rootSessionsWithoutOriginator = 400;
const inactiveMillis = 24 * 3600 * 1000;

/** Checks a password; refuses late, as PAM does. */
export async function authenticate(pool: LabPool, username: string, password: string): Promise<void> {
  const { credentials } = pool;
  if (username === credentials.username && password === credentials.password) return;
  await pool.clock.sleep(refusalSeconds);
  fail(
    'SESSION_AUTHENTICATION_FAILED',
    username,
    username === credentials.username
      ? 'Authentication failure'
      : 'User not known to the underlying authentication module',
  );
}

export function openSession(pool: LabPool, host: LabHost, username: string, originator: string): Row {
  const session = pool.db.create('session', {
    this_host: host.row.ref,
    last_active: pool.now(),
    validation_time: pool.now(),
    auth_user_name: username,
    is_local_superuser: true,
    originator,
  });
  capSessions(pool, session, originator);
  return session;
}

/** Above the cap of its group the session that was idle longest goes, unless it owns a pending task. */
function capSessions(pool: LabPool, newest: Row, originator: string): void {
  const cap = originator === '' ? rootSessionsWithoutOriginator : sessionsPerOriginator;
  if (pool.db.count('session') <= cap) return;
  const group = pool.db.all('session').filter((s) => s.get('originator') === originator && s !== newest);
  group.sort((a, b) => a.date('last_active').millis - b.date('last_active').millis);
  for (const session of group.slice(0, Math.max(0, group.length + 1 - cap))) {
    const busy = session.rows('tasks', 'task').some((t) => t.text('status') === 'pending');
    if (!busy) session.destroy();
  }
}

/** The live session of a reference, refreshed; `SESSION_INVALID [ref]` otherwise. */
export function useSession(pool: LabPool, ref: string): Row {
  const session = pool.db.find('session', ref);
  if (session === undefined) fail('SESSION_INVALID', ref);
  const idle = pool.clock.now() - session.date('last_active').millis;
  if (idle > inactiveMillis && !session.rows('tasks', 'task').some((t) => t.text('status') === 'pending')) {
    session.destroy();
    fail('SESSION_INVALID', ref);
  }
  if (idle >= 1000) session.set({ last_active: pool.now() });
  return session;
}

export function installSessions(registry: Registry): void {
  registry.on('session.login_with_password', async (call) => {
    await authenticate(call.pool, call.text(0), call.text(1));
    return openSession(call.pool, call.host, call.text(0), call.text(3)).ref;
  });
  registry.on('session.slave_local_login_with_password', async (call) => {
    await authenticate(call.pool, call.text(0), call.text(1));
    const ref = newRef();
    call.host.localSessions.add(ref);
    return ref;
  });
  registry.on('session.local_logout', (call) => {
    call.host.localSessions.delete(call.sessionRef);
    return '';
  });
  registry.on('session.logout', (call) => {
    call.session?.destroy();
    return '';
  });
  registry.on('session.get_all_subject_identifiers', () => []);
  registry.on('session.logout_subject_identifier', () => '');
  registry.on('session.change_password', () => fail('NOT_IMPLEMENTED', 'session.change_password'));
}
