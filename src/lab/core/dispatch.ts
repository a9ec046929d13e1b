/** From a method name and raw parameters to an answer: the order of checks is xapi's (xapi.md 1.2, 1.5, 1.8). */
import { classes, type MessageModel, modelType } from '../../metadata/datamodel/index.ts';
import { hasAsyncForm } from './asyncforms.ts';
import type { Row } from './database.ts';
import { type Answer, xmlText } from './encode.ts';
import { fail, failureOf, XenFailure } from './failure.ts';
import { genericHandler } from './generic.ts';
import type { LabHost } from './pool.ts';
import { Call, type MessageHandler } from './registry.ts';
import { useSession } from './sessions.ts';
import { collectInTime } from './tasks.ts';
import type { Value } from './values.ts';
import { decode, type Wire, wireText } from './wire.ts';
import { AnswerLost } from './wrap.ts';

/** Calls that a member answers by itself, with a local session or none. */
const localCalls = new Set(['session.slave_local_login_with_password', 'session.local_logout']);

export interface Request {
  readonly method: string;
  readonly params: readonly Wire[];
  readonly signal: AbortSignal;
}

/** Performs one call on one host. Throws XenFailure. */
export async function dispatch(host: LabHost, request: Request): Promise<Answer> {
  if (request.method === 'system.listMethods') return listMethods();
  const async = request.method.startsWith('Async.');
  const method = async ? request.method.slice(6) : request.method;
  const dot = method.indexOf('.');
  const cls = method.slice(0, dot);
  const name = method.slice(dot + 1);
  const model = dot < 0 ? undefined : messageModel(cls, name);
  const { pool } = host;
  if (model === undefined || !pool.product.has(sinceOf(cls, model))) fail('MESSAGE_METHOD_UNKNOWN', method);
  collectInTime(pool);
  await pool.beforeCall?.(request.method, host);

  const received = request.params.length - (model.takesSession ? 1 : 0);
  const required = model.params.filter((p) => p.required).length;
  const isMember = pool.master !== host;
  const sessionWire = model.takesSession ? request.params[0] : undefined;
  const sessionRef = sessionWire === undefined ? '' : textOf(sessionWire);
  const local = host.localSessions.has(sessionRef);
  if (isMember && !local && !localCalls.has(method)) fail('HOST_IS_SLAVE', pool.master.address);
  if (received < required || (received > required && required === model.params.length))
    fail('MESSAGE_PARAMETER_COUNT_MISMATCH', method, String(required), String(received));

  const params = decodeParams(model, request.params);
  const session = model.takesSession && !local ? useSession(pool, sessionRef) : null;
  if (async && !hasAsyncForm(cls, model)) fail('Fault', `No async mode for this operation (rpc: ${method})`);

  const handler = pool.registry.handler(method) ?? genericHandler(cls, name) ?? missing(cls, model);
  const given = { pool, host, method, params, session, sessionRef, signal: request.signal };
  if (!async) return pool.registry.perform(new Call({ ...given, task: null }), handler);
  const issued = new Call({ ...given, task: null, isAsync: true });
  const verdict = await pool.registry.handOver(issued);
  if (verdict === 'drop') throw new AnswerLost(false);
  const task = pool.newTask(request.method, '', session, host);
  void runInTask(issued.inTask(task), task, handler);
  if (verdict === 'lose') throw new AnswerLost(true);
  return task.ref;
}

/** A message's declaration. Every class with get_all_records has this query too, which the published model leaves out. */
function messageModel(cls: string, name: string): MessageModel | undefined {
  const { messages } = classes.get(cls) ?? {};
  const known = messages?.get(name);
  if (known !== undefined || name !== 'get_all_records_where') return known;
  const whole = messages?.get('get_all_records');
  return whole === undefined
    ? undefined
    : { ...whole, name, params: [{ name: 'expr', type: 'string', required: true }] };
}

/** Release of a message. Setters of a map field that the model gives none to are as old as the field. */
function sinceOf(cls: string, { name, since }: MessageModel): string {
  if (since !== '') return since;
  const field = /^(?:set|add_to|remove_from)_(.+)$/.exec(name)?.[1];
  return field === undefined ? since : (classes.get(cls)?.fields.get(field)?.since ?? since);
}

/** Every message by name; the only answer without an envelope (xapi.md 1.1). */
function listMethods(): string[] {
  return [...classes.values()].flatMap((model) =>
    [...model.messages.keys()].map((name) => `${model.name}.${name}`),
  );
}

async function runInTask(call: Call, task: Row, handler: MessageHandler): Promise<void> {
  const { pool } = call;
  try {
    await Promise.resolve();
    const answer = await pool.registry.perform(call, handler);
    pool.finishTask(task, { result: xmlText(answer) });
  } catch (error) {
    const failure = failureOf(error);
    if (failure.code === 'TASK_CANCELLED') pool.finishTask(task, 'cancelled');
    else pool.finishTask(task, { error: failure.description });
  }
}

function textOf(wire: Wire): string {
  return wire.kind === 'string'
    ? wire.value
    : fail('INTERNAL_ERROR', `Failure("Expected string, got '${wireText(wire)}'")`);
}

function decodeParams(model: MessageModel, wires: readonly Wire[]): Value[] {
  const given = model.takesSession ? wires.slice(1) : wires;
  // Behind optional parameters anything more is not looked at.
  return given
    .slice(0, model.params.length)
    .map((wire, i) => decode(wire, modelType(model.params[i]?.type ?? 'any')));
}

/** A message of the data model that the lab does not play. */
function missing(cls: string, model: MessageModel): MessageHandler {
  return (call) => {
    const [first] = model.params;
    if (first?.type === `${cls} ref`) call.row(cls);
    if (model.removed !== '') throw new XenFailure('MESSAGE_REMOVED');
    throw new XenFailure('NOT_IMPLEMENTED', [`${cls}.${model.name}`]);
  };
}

/** Performs a message from inside the lab, with values as the handler takes them and without a session. */
export async function invoke(host: LabHost, method: string, ...params: Value[]): Promise<Answer> {
  const [cls = '', name = ''] = method.split('.');
  const handler = host.pool.registry.handler(method) ?? genericHandler(cls, name);
  if (handler === null || handler === undefined) fail('MESSAGE_METHOD_UNKNOWN', method);
  return handler(
    new Call({
      pool: host.pool,
      host,
      method,
      params,
      session: null,
      sessionRef: '',
      task: null,
      signal: new AbortController().signal,
    }),
  );
}
