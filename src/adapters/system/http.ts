/** Whether a page of a guest answers: the HTTP readiness gate. */
import { readFileSync } from 'node:fs';
import { request as plainRequest } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { isIP } from 'node:net';
import type { HttpAnswer, HttpProbe } from '../../ports/guests.ts';

const answerWithinSeconds = 10;
const readBytes = 64 * 1024;

export async function probeHttp(probe: HttpProbe, signal?: AbortSignal): Promise<HttpAnswer> {
  const limits = [AbortSignal.timeout(answerWithinSeconds * 1000), ...(signal === undefined ? [] : [signal])];
  const over = AbortSignal.any(limits);
  try {
    return await ask(probe, over);
  } catch (error) {
    return { answered: false, because: over.aborted ? 'no answer in time' : reasonOf(error) };
  }
}

function ask(probe: HttpProbe, signal: AbortSignal): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const { address, port, path, tls, host, verify, caFile } = probe;
    const send = tls ? tlsRequest : plainRequest;
    const usual = port === (tls ? 443 : 80);
    const sent = send({
      host: address,
      port,
      path,
      method: 'GET',
      agent: false,
      signal,
      headers: host === null ? {} : { host: usual ? host : `${host}:${port}` },
      ...(tls ? { rejectUnauthorized: verify, ...nameForTls(host ?? address) } : {}),
      ...(tls && caFile !== null ? { ca: readFileSync(caFile) } : {}),
    });
    sent.on('error', reject);
    sent.on('response', (response) => {
      const pieces: Buffer[] = [];
      let bytes = 0;
      const answer = (): void => {
        const text = Buffer.concat(pieces).subarray(0, readBytes).toString('utf8');
        resolve({ answered: true, status: response.statusCode ?? 0, text });
        sent.destroy();
      };
      response.on('data', (piece: Buffer) => {
        pieces.push(piece);
        bytes += piece.length;
        if (bytes >= readBytes) answer();
      });
      response.on('end', answer);
      response.on('error', reject);
    });
    sent.end();
  });
}

/** SNI is for names; an address as server name is refused by some servers, and checked against the certificate anyway. */
function nameForTls(name: string): { readonly servername?: string } {
  return isIP(name) === 0 ? { servername: name } : { servername: '' };
}

function reasonOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const words: Readonly<Record<string, string>> = {
    ECONNREFUSED: 'the connection was refused',
    ECONNRESET: 'the connection was reset',
    EHOSTUNREACH: 'there is no way to that address',
    ENETUNREACH: 'there is no way to that network',
    ETIMEDOUT: 'the connection timed out',
    ENOENT: 'the file of its CA cannot be read',
    CERT_HAS_EXPIRED: 'its certificate has expired',
    ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name',
    DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is self-signed',
    SELF_SIGNED_CERT_IN_CHAIN: 'its certificate chain is self-signed',
    UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is signed by an unknown CA',
  };
  return words[code] ?? (error instanceof Error ? error.message : String(error));
}
