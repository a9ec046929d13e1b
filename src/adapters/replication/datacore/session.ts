/**
 * The session at the REST server: literal Basic once, then a token. After three wrong passwords the server lets
 * nobody in for a while, longer each time: a refused password is never sent twice by one instance.
 */
import { PortError } from '../../../domain/errors.ts';
import type { Headers, Login, RestAnswer, RestRequest } from '../rest/client.ts';
import { notUnderstood, wrongPassword } from '../rest/errors.ts';
import { answers } from './answers.ts';

type Send = (request: RestRequest) => Promise<RestAnswer>;

interface Endpoint {
  readonly array: string;
  readonly url: string;
}

export const basePath = '/RestService/rest.svc/1.0';
const tokenIsOver = /passed token is not valid/i;
const tooMany = /too many requests with wrong credentials/i;

/** The server's own words; empty when it said none. */
export function wordsOf({ body }: RestAnswer): string {
  const result = answers.failure.safeParse(body);
  return result.success ? result.data.ErrorMessage : '';
}

export class SessionLogin implements Login {
  readonly #endpoint: Endpoint;
  readonly #username: string;
  readonly #serverHost: string;
  readonly #password: () => Promise<string>;
  #secrets: readonly string[] = [];
  #token: Promise<string> | null = null;
  #refused: PortError | null = null;

  constructor(endpoint: Endpoint, username: string, serverHost: string, password: () => Promise<string>) {
    this.#endpoint = endpoint;
    this.#username = username;
    this.#serverHost = serverHost;
    this.#password = password;
  }

  async headers(send: Send, signal?: AbortSignal): Promise<Headers> {
    if (this.#refused !== null) throw this.#refused;
    this.#token ??= this.#begin(send, signal);
    const token = await this.#token.catch((error: unknown) => {
      this.#token = null;
      throw error;
    });
    return { serverhost: this.#serverHost, authorization: `Token ${token}` };
  }

  hasExpired(answer: RestAnswer): boolean {
    const over = answer.status === 400 && tokenIsOver.test(wordsOf(answer));
    if (over) this.#token = null;
    return over;
  }

  async logout(send: Send): Promise<void> {
    if (this.#token === null) return;
    const headers = { serverhost: this.#serverHost, authorization: `Token ${await this.#token}` };
    await send({ method: 'DELETE', path: `${basePath}/sessions`, headers, seconds: 5 });
  }

  secrets(): readonly string[] {
    return this.#secrets;
  }

  async #begin(send: Send, signal: AbortSignal | undefined): Promise<string> {
    const password = await this.#password();
    this.#secrets = [...this.#secrets, password];
    const answer = await send({
      method: 'POST',
      path: `${basePath}/sessions`,
      // The server wants user and password as they are, not in base64.
      headers: { serverhost: this.#serverHost, authorization: `Basic ${this.#username} ${password}` },
      body: { Operation: 'OpenSession' },
      readOnly: true,
      signal,
    });
    if (answer.status >= 400) {
      this.#refused = this.#refusal(wordsOf(answer));
      throw this.#refused;
    }
    const session = answers.session.safeParse(answer.body);
    if (!session.success) throw notUnderstood(this.#endpoint, 'opens a session without a token');
    const { Token: token } = Array.isArray(session.data) ? (session.data[0] ?? { Token: '' }) : session.data;
    this.#secrets = [...this.#secrets, token];
    return token;
  }

  #refusal(words: string): PortError {
    if (!tooMany.test(words)) return wrongPassword(this.#endpoint, `user ${this.#username}`, words);
    return new PortError(
      'auth',
      {
        code: 'DR-ARRAY-LOCKED-OUT',
        what: `Array ${this.#endpoint.array} lets nobody in after too many wrong passwords`,
        where: { object: this.#endpoint.url },
        known: [words],
        next: 'Correct the user or the secret of the array first, wait as long as it says, and only then try again',
      },
      { peerCode: '400', peerParams: [words] },
    );
  }
}
