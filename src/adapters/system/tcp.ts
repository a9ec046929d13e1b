/** Whether something answers at an address and port: the TCP readiness gate. */
import { connect } from 'node:net';

const answerWithinSeconds = 3;

export function probeTcp(address: string, port: number, signal?: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port, timeout: answerWithinSeconds * 1000 });
    const end = (answers: boolean): void => {
      signal?.removeEventListener('abort', give);
      socket.destroy();
      resolve(answers);
    };
    const give = (): void => end(false);
    signal?.addEventListener('abort', give, { once: true });
    socket.once('connect', () => end(true));
    socket.once('error', give);
    socket.once('timeout', give);
  });
}
