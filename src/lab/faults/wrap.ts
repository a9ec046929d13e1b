/** What the rules do to a call: round messages, round the hand-over of Async calls, round HTTP handlers. */
import { PassThrough, type Readable } from 'node:stream';
import { classes } from '../../metadata/datamodel/index.ts';
import type { Answer } from '../core/encode.ts';
import { XenFailure } from '../core/failure.ts';
import type { Call, HttpExchange } from '../core/registry.ts';
import type { Value } from '../core/values.ts';
import { AnswerLost, type Wrap } from '../core/wrap.ts';
import type { FaultEngine } from './engine.ts';
import type { FaultAction } from './rule.ts';

/** Actions of an Async call, met at the hand-over and carried out in its task. */
type Waiting = WeakMap<Call, readonly FaultAction[]>;

export function faultWrap(engine: FaultEngine): Wrap {
  const waiting: Waiting = new WeakMap();
  return {
    async handOver(call) {
      const actions = meet(engine, call);
      waiting.set(call, actions);
      if (actions.some((a) => a.kind === 'drop' || a.kind === 'reset')) return 'drop';
      return actions.some((a) => a.kind === 'lose-answer') ? 'lose' : 'go on';
    },
    async message(call, next) {
      const inTask = call.task === null ? undefined : waiting.get(call.issued);
      const actions = inTask ?? meet(engine, call);
      if (actions.length === 0) return next();
      return perform(engine, call, actions, next, inTask !== undefined);
    },
    async http(exchange, next) {
      const actions = engine.meet({
        pool: exchange.pool,
        host: exchange.host,
        method: null,
        path: exchange.path,
        async: false,
        param: (name) => exchange.query.get(name) ?? undefined,
      });
      return actions.length === 0 ? next(exchange) : transfer(engine, exchange, actions, next);
    },
  };
}

function meet(engine: FaultEngine, call: Call): FaultAction[] {
  return engine.meet({
    pool: call.pool,
    host: call.host,
    method: call.method,
    path: null,
    async: call.isAsync,
    param: (name) => paramOf(call, name),
  });
}

function paramOf(call: Call, name: string): Value | undefined {
  const [cls = '', message = ''] = call.method.split('.');
  const params = classes.get(cls)?.messages.get(message)?.params ?? [];
  return call.params[params.findIndex((p) => p.name === name)];
}

async function perform(
  engine: FaultEngine,
  call: Call,
  actions: readonly FaultAction[],
  next: () => Promise<Answer>,
  inTask: boolean,
): Promise<Answer> {
  const { pool } = call;
  let lost = false;
  let vanish: 'done' | 'not done' | null = null;
  for (const action of actions) {
    switch (action.kind) {
      case 'error':
        throw new XenFailure(action.code, action.params);
      case 'drop':
      case 'reset':
        if (!inTask) throw new AnswerLost(false);
        break;
      case 'lose-answer':
        lost = !inTask;
        break;
      case 'delay':
        if (action.when === 'before') await pool.clock.sleep(action.seconds);
        break;
      case 'slow-task':
        await pool.clock.sleep(action.seconds);
        break;
      case 'vanish-task':
        vanish = action.done ? 'done' : 'not done';
        break;
      default:
        if (!('when' in action) || action.when === 'before') await changeWorld(engine, action, call, inTask);
    }
  }
  if (vanish === 'not done') {
    call.task?.destroy();
    if (call.task === null) throw new AnswerLost(false);
    return '';
  }
  const answer = await next();
  for (const action of actions) {
    if (action.kind === 'delay' && action.when === 'after') await pool.clock.sleep(action.seconds);
    if ('when' in action && action.when === 'after' && action.kind !== 'delay')
      await changeWorld(engine, action, call, inTask);
  }
  if (vanish === 'done') {
    if (call.task === null) throw new AnswerLost(true);
    call.task.destroy();
  }
  if (lost) throw new AnswerLost(true);
  return answer;
}

/** Whoever asks the host that is going away gets no answer from it. */
async function changeWorld(
  engine: FaultEngine,
  action: FaultAction,
  call: Call,
  inTask: boolean,
): Promise<void> {
  await engine.changeWorld(action, call.pool);
  if (action.kind === 'fill-sr' || action.kind === 'refuse-plug' || action.kind === 'refuse-tls') return;
  if (!inTask) throw new AnswerLost('when' in action && action.when === 'after');
}

async function transfer(
  engine: FaultEngine,
  exchange: HttpExchange,
  actions: readonly FaultAction[],
  next: (exchange: HttpExchange) => Promise<string>,
): Promise<string> {
  const { pool, task } = exchange;
  let given = exchange;
  let vanish: 'done' | 'not done' | null = null;
  let lost = false;
  for (const action of actions) {
    switch (action.kind) {
      case 'error':
        throw new XenFailure(action.code, action.params);
      case 'drop':
        throw new AnswerLost(false);
      case 'lose-answer':
        lost = true;
        break;
      case 'reset':
        given =
          exchange.method === 'GET' ? cutAnswer(given, action.afterBytes) : cutBody(given, action.afterBytes);
        break;
      case 'delay':
        if (action.when === 'before') await pool.clock.sleep(action.seconds);
        break;
      case 'slow-task':
        await pool.clock.sleep(action.seconds);
        break;
      case 'vanish-task':
        vanish = action.done ? 'done' : 'not done';
        break;
      default:
        if (!('when' in action) || action.when === 'before') {
          await engine.changeWorld(action, pool);
          if ('when' in action) throw new AnswerLost(false);
        }
    }
  }
  if (vanish === 'not done') {
    task.destroy();
    throw new AnswerLost(false);
  }
  const result = await next(given);
  for (const action of actions) {
    if (action.kind === 'delay' && action.when === 'after') await pool.clock.sleep(action.seconds);
    if ('when' in action && action.when === 'after' && action.kind !== 'delay') {
      await engine.changeWorld(action, pool);
      throw new AnswerLost(true, result);
    }
  }
  if (vanish === 'done') task.destroy();
  if (lost) throw new AnswerLost(true, result);
  return result;
}

/** The answer breaks off behind so many bytes of its body. */
function cutAnswer(exchange: HttpExchange, bytes: number): HttpExchange {
  let left = bytes;
  const write = async (chunk: Buffer | string): Promise<void> => {
    const buffer = Buffer.from(chunk);
    if (buffer.length <= left) {
      left -= buffer.length;
      return exchange.write(buffer);
    }
    if (left > 0) await exchange.write(buffer.subarray(0, left));
    exchange.cut();
    throw new XenFailure('INTERNAL_ERROR', ['Unix.Unix_error(Unix.EPIPE, "write", "")']);
  };
  return view(exchange, exchange.body, write);
}

/** The connection breaks behind so many bytes of the request's body. */
function cutBody(exchange: HttpExchange, bytes: number): HttpExchange {
  const body = new PassThrough();
  let left = bytes;
  exchange.body.on('data', (chunk: Buffer) => {
    if (left < 0) return;
    if (chunk.length < left) {
      left -= chunk.length;
      body.write(chunk);
      return;
    }
    body.write(chunk.subarray(0, left));
    left = -1;
    exchange.cut();
    body.end();
  });
  exchange.body.on('end', () => body.end());
  exchange.body.on('error', () => body.end());
  return view(exchange, body, (chunk) => exchange.write(chunk));
}

/** The same exchange with another body or another way out. */
function view(exchange: HttpExchange, body: Readable, write: HttpExchange['write']): HttpExchange {
  return {
    pool: exchange.pool,
    host: exchange.host,
    method: exchange.method,
    path: exchange.path,
    query: exchange.query,
    headers: exchange.headers,
    cookies: exchange.cookies,
    session: exchange.session,
    task: exchange.task,
    body,
    signal: exchange.signal,
    get started() {
      return exchange.started;
    },
    start: (status, headers) => exchange.start(status, headers),
    write,
    end: () => exchange.end(),
    cut: () => exchange.cut(),
  };
}
