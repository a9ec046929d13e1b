/** Notices through real servers on loopback: mail over TLS with a password, webhooks, chats, a program. */
import { createHmac } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';
import t, { type Test } from 'tap';
import { openNotifier } from '../../src/adapters/notify/open.ts';
import { mattermostBody, slackBody, teamsBody } from '../../src/adapters/notify/shapes.ts';
import { programRunner } from '../../src/adapters/system/programs.ts';
import { VirtualClock } from '../../src/adapters/system/virtual-clock.ts';
import { PortError } from '../../src/domain/errors.ts';
import type { Notice } from '../../src/domain/notice.ts';
import type { ChannelRoute, ChannelSettings } from '../../src/domain/notice-settings.ts';
import type { SecretRef } from '../../src/domain/settings.ts';
import { selfSigned } from '../../src/lab/server/certificate.ts';

const certificate = selfSigned('localhost', ['localhost', '127.0.0.1'], 'channels');
const directory = mkdtempSync(join(tmpdir(), 'lifeboat-channels-'));
t.teardown(() => rmSync(directory, { recursive: true, force: true }));
const caFile = join(directory, 'ca.pem');
writeFileSync(caFile, certificate.cert);
const otherCa = join(directory, 'other.pem');
writeFileSync(otherCa, selfSigned('localhost', ['localhost'], 'another').cert);

const at = '2026-03-14T02:00:00.000Z';
const alarm = {
  id: 'rpo-4f1c2a',
  key: 'rpo:shop',
  kind: 'rpo',
  event: 'raised',
  severity: 'critical',
  groups: ['shop'],
  what: 'The RPO of group shop is broken',
  raisedAt: at,
  closedAt: null,
} as const;
const notice: Notice = {
  id: 'ntc_0123456789',
  at,
  event: 'raised',
  severity: 'critical',
  groups: ['shop'],
  subject: 'The RPO of group shop is broken: 41 min would be lost – <now> & here',
  lines: ['The RPO is broken.', '- SR Größe 1: replica 41 min old, link down', '- @channel <!here>'],
  facts: [
    ['Severity', 'critical'],
    ['Alarm', 'rpo-4f1c2a'],
  ],
  next: 'Look at the replication: lifeboat status shop',
  alarms: [alarm],
};
const closed: Notice = {
  ...notice,
  id: 'ntc_closed',
  event: 'closed',
  subject: 'Over: the RPO',
  next: null,
  alarms: [{ ...alarm, event: 'closed' }],
};

const route: ChannelRoute = { name: 'oncall', atLeast: 'warning', groups: [], digest: true };
const stored = (name: string): SecretRef => ({ from: 'store', name });
let secrets: Record<string, string> = {};

function notifier(channel: ChannelSettings) {
  return openNotifier(channel, {
    secrets: { resolve: async (ref) => secrets[ref.from === 'store' ? ref.name : ''] ?? '' },
    clock: new VirtualClock({ start: at }),
    runProgram: programRunner({ directory, environment: process.env, redact: (text) => text }),
  });
}

interface Received {
  readonly from: string;
  readonly to: readonly string[];
  readonly text: string;
  readonly secure: boolean;
  readonly user: string;
}

/** An SMTP server that takes one user, over TLS alone. */
async function mailServer(t: Test, options: SMTPServerOptions = {}) {
  const received: Received[] = [];
  const server = new SMTPServer({
    key: certificate.key,
    cert: certificate.cert,
    authMethods: ['PLAIN', 'LOGIN'],
    logger: false,
    onAuth: ({ username, password }, session, done) => {
      if (!session.secure) done(new Error('a password in clear'));
      else if (username === 'lifeboat' && password === 'letters and 7') done(null, { user: username });
      else done(new Error('no such user'));
    },
    onData: (stream, session, done) => {
      let text = '';
      stream.setEncoding('utf8');
      stream.on('data', (piece: string) => {
        text += piece;
      });
      stream.on('end', () => {
        const { mailFrom, rcptTo } = session.envelope;
        received.push({
          from: mailFrom === false ? '' : mailFrom.address,
          to: rcptTo.map(({ address }) => address),
          text,
          secure: session.secure,
          user: String(session.user),
        });
        done();
      });
    },
    ...options,
  });
  // What a client does wrong is its own affair, and asserted there.
  server.on('error', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => new Promise<void>((resolve) => server.close(() => resolve())));
  return { port: (server.server.address() as AddressInfo).port, received };
}

/** Takes connections, and never says a word. */
async function silentServer(t: Test, onConnect: () => void): Promise<number> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    sockets.push(socket);
    onConnect();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

const mailTo = (port: number, changes: object = {}): ChannelSettings => ({
  ...route,
  type: 'mail',
  host: 'localhost',
  port,
  security: 'starttls',
  caFile,
  login: { username: 'lifeboat', password: stored('mail') },
  from: 'Lifeboat <lifeboat@example.org>',
  to: ['oncall@example.org', 'second@example.org'],
  ...changes,
});

async function failure(promise: Promise<void>): Promise<PortError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof PortError) return error;
    throw error;
  }
  throw new Error('it was taken');
}

for (const security of ['starttls', 'tls'] as const)
  void t.test(`mail arrives over ${security} with a password`, async (t) => {
    secrets = { mail: 'letters and 7' };
    const server = await mailServer(t, { secure: security === 'tls' });
    const channel = notifier(mailTo(server.port, { security }));
    await channel.send(notice);
    await channel.send(closed);
    const [first, second] = server.received;
    t.match(first, {
      from: 'lifeboat@example.org',
      to: ['oncall@example.org', 'second@example.org'],
      secure: true,
      user: 'lifeboat',
    });
    t.match(first?.text, /^Subject: =\?UTF-8\?/m, 'signs beyond ASCII are encoded');
    t.match(first?.text, /^Auto-Submitted: auto-generated\r$/m);
    t.match(first?.text, /^X-Priority: 1/m);
    t.match(first?.text, /^Message-ID: <rpo-4f1c2a\.oncall@example\.org>\r$/m);
    t.match(
      second?.text,
      /^In-Reply-To: <rpo-4f1c2a\.oncall@example\.org>\r$/m,
      'the end answers to the beginning',
    );
    t.match(second?.text, /^Message-ID: <ntc_closed\.oncall@example\.org>\r$/m);
    t.match(first?.text, /lifeboat status shop/);
  });

void t.test(
  'a wrong password, a server that is not trusted, one without TLS, one that is away',
  async (t) => {
    secrets = { mail: 'wrong' };
    const server = await mailServer(t);
    t.match(await failure(notifier(mailTo(server.port)).send(notice)), {
      kind: 'auth',
      problem: { code: 'DR-NOTICE-PASSWORD' },
    });
    secrets = { mail: 'letters and 7' };
    t.match(await failure(notifier(mailTo(server.port, { caFile: otherCa })).send(notice)), {
      kind: 'trust',
      problem: { code: 'DR-NOTICE-CERTIFICATE' },
    });
    const clear = await mailServer(t, { disabledCommands: ['STARTTLS'], allowInsecureAuth: true });
    t.match(await failure(notifier(mailTo(clear.port)).send(notice)), { kind: 'trust' });
    t.strictSame([...server.received, ...clear.received], [], 'nothing was sent, and no password in clear');
    const refusing = await mailServer(t, {
      onRcptTo: (_address, _session, done) =>
        done(Object.assign(new Error('no such mailbox'), { responseCode: 550 })),
    });
    t.match(await failure(notifier(mailTo(refusing.port)).send(notice)), {
      kind: 'refused',
      problem: { code: 'DR-NOTICE-REFUSED' },
    });
    const stop = new AbortController();
    const silent = await silentServer(t, () => stop.abort());
    const given = failure(notifier(mailTo(silent)).send(notice, stop.signal));
    t.match(
      await given,
      { kind: 'unreachable', problem: { known: ['it did not take the mail in time'] } },
      'given up',
    );
    const gone = notifier(mailTo(1));
    t.match(await failure(gone.send(notice)), {
      kind: 'unreachable',
      problem: { code: 'DR-NOTICE-UNREACHABLE' },
    });
  },
);

interface Heard {
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

async function webServer(
  t: Test,
  answer: (path: string) => { status: number; text?: string; headers?: Record<string, string> } = () => ({
    status: 200,
    text: 'ok',
  }),
) {
  const heard: Heard[] = [];
  const server = createHttps({ key: certificate.key, cert: certificate.cert }, (request, response) => {
    let body = '';
    request.setEncoding('utf8');
    request.on('data', (piece: string) => {
      body += piece;
    });
    request.on('end', () => {
      const path = request.url ?? '';
      heard.push({ path, headers: request.headers, body });
      const { status, text = '', headers = {} } = answer(path);
      response.writeHead(status, headers).end(text);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `https://localhost:${(server.address() as AddressInfo).port}`, heard };
}

void t.test('a webhook is signed as Standard Webhooks has it', async (t) => {
  const server = await webServer(t);
  const key = Buffer.from('a key of the test');
  secrets = { hook: `whsec_${key.toString('base64')}` };
  const hook = {
    ...route,
    type: 'webhook' as const,
    url: `${server.url}/in`,
    secret: stored('hook'),
    caFile,
  };
  await notifier(hook).send(notice);
  await notifier({ ...hook, secret: null }).send(notice);
  const [signed, unsigned] = server.heard;
  const {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': signature,
  } = signed?.headers ?? {};
  t.equal(id, notice.id);
  t.equal(timestamp, String(Date.parse(at) / 1000));
  t.equal(
    signature,
    `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${signed?.body}`).digest('base64')}`,
  );
  t.equal(signed?.headers['content-type'], 'application/json');
  const { id: _, at: __, ...data } = notice;
  t.strictSame(JSON.parse(signed?.body ?? ''), {
    type: 'lifeboat.raised',
    timestamp: at,
    id: notice.id,
    data,
  });
  t.equal(unsigned?.headers['webhook-signature'], undefined);
});

void t.test('chats get the forms that they document, and their addresses stand in no error', async (t) => {
  const server = await webServer(t, (path) =>
    path === '/hooks/fine'
      ? { status: 202 }
      : path === '/hooks/full'
        ? { status: 429, headers: { 'retry-after': '30' } }
        : { status: 404, text: `no ${path}` },
  );
  for (const type of ['slack', 'teams', 'mattermost'] as const) {
    secrets = { chat: `${server.url}/hooks/fine` };
    const channel = notifier({ ...route, type, url: stored('chat'), caFile });
    await channel.send(notice);
    const shape = { slack: slackBody, teams: teamsBody, mattermost: mattermostBody }[type];
    t.strictSame(JSON.parse(server.heard.at(-1)?.body ?? ''), JSON.parse(JSON.stringify(shape(notice))));
    secrets = { chat: `${server.url}/hooks/very-secret-path` };
    const gone = await failure(channel.send(notice));
    t.match(gone, { kind: 'refused' });
    t.notMatch(gone.message, /very-secret-path/);
    secrets = { chat: `${server.url}/hooks/full` };
    t.match(await failure(channel.send(notice)), { kind: 'busy', problem: { known: [/429/, /wait 30 s/] } });
  }
  secrets = { chat: `${server.url}/hooks/fine` };
  t.match(
    await failure(notifier({ ...route, type: 'slack', url: stored('chat'), caFile: otherCa }).send(notice)),
    { kind: 'trust' },
  );
  secrets = { chat: 'http://192.0.2.1/hooks/clear' };
  t.match(
    await failure(notifier({ ...route, type: 'slack', url: stored('chat'), caFile }).send(notice)),
    { kind: 'refused', problem: { known: ['it is no https:// address'] } },
    'an address without encryption is not called',
  );
  const moved = await webServer(t, () => ({
    status: 302,
    headers: { location: `${server.url}/hooks/fine` },
  }));
  secrets = { chat: `${moved.url}/x` };
  t.match(await failure(notifier({ ...route, type: 'teams', url: stored('chat'), caFile }).send(notice)), {
    kind: 'refused',
  });
});

void t.test('the shapes keep to what Slack, Teams and Mattermost allow', async (t) => {
  const long: Notice = {
    ...notice,
    subject: 's'.repeat(160),
    lines: Array.from({ length: 500 }, (_, i) => `- line ${i} ${'x'.repeat(80)}`),
    facts: Array.from({ length: 14 }, (_, i) => [`f${i}`, 'x'.repeat(3000)] as const),
  };
  const slack = slackBody(long) as {
    text: string;
    blocks: readonly {
      type: string;
      text?: { type: string; text: string };
      fields?: readonly { text: string }[];
    }[];
  };
  t.ok(slack.blocks.length <= 50);
  t.equal(slack.blocks[0]?.type, 'header');
  t.equal(slack.blocks[0]?.text?.type, 'plain_text');
  t.ok((slack.blocks[0]?.text?.text.length ?? 999) <= 150);
  for (const block of slack.blocks) {
    if (block.type === 'section' && block.text !== undefined) t.ok(block.text.text.length <= 3000);
    if (block.fields !== undefined) {
      t.ok(block.fields.length <= 10);
      t.ok(block.fields.every(({ text }) => text.length <= 2000));
    }
  }
  t.match(JSON.stringify(slackBody(notice)), '&lt;!here&gt;', 'nobody is called by a name of something');
  t.match(slackBody(closed), { text: /^:white_check_mark:/ });
  const teams = teamsBody(notice) as {
    type: string;
    attachments: readonly {
      contentType: string;
      content: { type: string; version: string; body: readonly object[] };
    }[];
  };
  t.equal(teams.type, 'message');
  t.match(teams.attachments, [
    {
      contentType: 'application/vnd.microsoft.card.adaptive',
      content: {
        type: 'AdaptiveCard',
        version: '1.4',
        body: [{ type: 'TextBlock', color: 'Attention', wrap: true }],
      },
    },
  ]);
  t.ok(JSON.stringify(teamsBody(long)).length < 28_000);
  const mattermost = mattermostBody(notice) as {
    text: string;
    attachments: readonly { fallback: string; color: string; text: string }[];
  };
  t.match(mattermost.attachments, [{ fallback: /RPO/, color: '#C0392B' }]);
  t.notMatch(mattermost.attachments[0]?.text, /@channel/);
  t.ok(((mattermostBody(long) as typeof mattermost).attachments[0]?.text.length ?? 99_999) <= 16_383);
});

void t.test('a program gets the notice in its environment', async (t) => {
  const out = join(directory, 'out');
  const program = join(directory, 'page');
  writeFileSync(
    program,
    `#!/bin/sh\nprintf '%s\\n' "$1" "$LIFEBOAT_NOTICE_ID" "$LIFEBOAT_NOTICE_SEVERITY" "$LIFEBOAT_NOTICE_GROUPS" "$LIFEBOAT_NOTICE_SUBJECT" > ${out}\nprintf '%s' "$LIFEBOAT_NOTICE_JSON" > ${out}.json\ntest "$LIFEBOAT_NOTICE_EVENT" = raised || { echo "pager is away" >&2; exit 3; }\n`,
    { mode: 0o755 },
  );
  const channel = notifier({ ...route, type: 'command', argv: [program, '--team'], timeoutSeconds: 60 });
  await channel.send(notice);
  t.strictSame(readFileSync(out, 'utf8').trim().split('\n'), [
    '--team',
    notice.id,
    'critical',
    'shop',
    notice.subject,
  ]);
  t.match(JSON.parse(readFileSync(`${out}.json`, 'utf8')), { type: 'lifeboat.raised', id: notice.id });
  t.match(await failure(channel.send(closed)), {
    kind: 'refused',
    problem: { known: [/exit code 3/, /pager is away/] },
  });
  const nowhere = notifier({
    ...route,
    type: 'command',
    argv: [join(directory, 'none')],
    timeoutSeconds: 60,
  });
  t.match(await failure(nowhere.send(notice)), { kind: 'refused' });
});
