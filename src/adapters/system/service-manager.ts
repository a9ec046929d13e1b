/**
 * What a service manager is told (sd_notify(3)): ready, alive, reloading, stopping. Its socket is a Unix datagram socket,
 * which Node does not have: `systemd-notify`, which every systemd brings along, carries the words. Its messages come from
 * another process, which the unit allows (`NotifyAccess=all`).
 */
import { execFile } from 'node:child_process';

const program = 'systemd-notify';
const timeoutSeconds = 5;

export interface ServiceManager {
  /** Variables as in `READY=1`. Resolves when they are delivered, or when that is not possible. */
  tell(variables: readonly string[]): Promise<void>;
}

/** Nobody is told where no manager has asked for it (`NOTIFY_SOCKET`). `onFailure` is called at the first failure only. */
export function serviceManager(
  environment: Readonly<Record<string, string | undefined>>,
  onFailure: (reason: string) => void,
): ServiceManager {
  const { NOTIFY_SOCKET: socket, PATH: path } = environment;
  if (socket === undefined || socket === '') return { tell: async () => undefined };
  let failed = false;
  return {
    tell: (variables) =>
      new Promise((resolve) => {
        const env = { NOTIFY_SOCKET: socket, ...(path === undefined ? {} : { PATH: path }) };
        execFile(program, [...variables], { env, timeout: timeoutSeconds * 1000 }, (error) => {
          if (error !== null && !failed) {
            failed = true;
            onFailure(error.message.split('\n')[0] ?? error.message);
          }
          resolve();
        });
      }),
  };
}
