/** From settings to a catalog. Nobody is contacted and no secret is resolved before the first call. */
import type { CatalogSettings, CatalogTargetSettings } from '../../domain/settings.ts';
import type { Clock, Secrets } from '../../ports/system.ts';
import { readKeyFile, readPrivateFile } from '../secrets/key-file.ts';
import { TargetsCatalog } from './catalog.ts';
import type { OperatorKey } from './keys.ts';
import { LocalStore } from './local-store.ts';
import { SftpStore } from './sftp-store.ts';
import type { TargetStore } from './target-store.ts';

export interface CatalogSurroundings {
  readonly secrets: Secrets;
  readonly clock: Pick<Clock, 'now'>;
}

export function openCatalog(
  settings: CatalogSettings,
  { secrets, clock }: CatalogSurroundings,
): TargetsCatalog {
  const { encryption } = settings;
  return new TargetsCatalog({
    targets: settings.targets.map((target) => storeOf(target, secrets)),
    key: async (): Promise<OperatorKey> =>
      'keyFile' in encryption
        ? { from: 'key-file', key: await readKeyFile(encryption.keyFile) }
        : { from: 'passphrase', passphrase: await secrets.resolve(encryption.passphrase) },
    now: () => clock.now(),
  });
}

function storeOf(target: CatalogTargetSettings, secrets: Secrets): TargetStore {
  if (target.type === 'directory') return new LocalStore(target.name, target.path);
  const { name, host, port, username, hostKey, path, privateKeyFile, password } = target;
  return new SftpStore({
    name,
    address: {
      host,
      port,
      username,
      hostKey,
      writtenIn: { place: `catalog target ${name} in sites.yaml`, keyField: 'private_key_file' },
    },
    path: path.length > 1 ? path.replace(/\/+$/, '') : path,
    credentials: async () => ({
      privateKey: privateKeyFile === null ? null : await readPrivateFile(privateKeyFile, 'the private key'),
      password: password === null ? null : await secrets.resolve(password),
    }),
  });
}
