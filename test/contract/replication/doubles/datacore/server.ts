/** The REST server of SANsymphony over `group.ts`: sessions, ServerHost, errors as 400 with ErrorCode and ErrorMessage. */
import { type DoubleAnswer, type DoubleRequest, lost } from '../https-double.ts';
import { type Disk, type Group, Refusal } from './group.ts';

export interface Trap {
  matches(request: DoubleRequest): boolean;
  /** `lose`: the effect is there, the answer is not. `die`: answered, and the next change is not even begun. */
  readonly effect: 'lose' | 'die';
}

const base = '/RestService/rest.svc/1.0/';
const triesBeforeLockOut = 3;

export class RestServer {
  group: Group;
  readonly password: string;
  readonly serverHost: string;
  traps: Trap[] = [];
  dying = false;
  wrongTries = 0;
  logins = 0;
  /** Says to so many operations on replications that another one is under way. */
  busyOperations = 0;
  #tokens = new Set<string>();

  constructor(group: Group, password: string, serverHost: string) {
    this.group = group;
    this.password = password;
    this.serverHost = serverHost;
  }

  get token(): string {
    return `token-of-${this.group.id}`;
  }

  expireTokens(): void {
    this.#tokens.clear();
  }

  answer(request: DoubleRequest): DoubleAnswer | typeof lost {
    const headers = { date: new Date(this.group.now()).toUTCString() };
    const answered = this.#answer(request);
    return answered === lost ? lost : { headers, ...answered };
  }

  #answer(request: DoubleRequest): DoubleAnswer | typeof lost {
    const { method, path, headers } = request;
    if (!path.startsWith(base)) return { status: 404, text: '<html>not found</html>' };
    if (headers['serverhost'] !== this.serverHost)
      return failure(9, 'The ServerHost header is missing or wrong.');
    const what = decodeURIComponent(path.slice(base.length));
    const authorization = String(headers['authorization']);
    if (what === 'sessions' && method === 'POST') return this.#login(authorization);
    const [scheme, token = ''] = authorization.split(' ');
    if (scheme !== 'Token' || !this.#tokens.has(token))
      return failure(4, 'Passed token is not valid for this connection.');
    if (what === 'sessions') {
      this.#tokens.delete(token);
      return { status: 200 };
    }
    return method === 'GET' ? this.#look(what) : this.#changed(request, what);
  }

  #login(authorization: string): DoubleAnswer {
    if (this.wrongTries >= triesBeforeLockOut)
      return failure(4, 'Too many requests with wrong credentials/token. You must wait 30 seconds.');
    if (authorization !== `Basic lifeboat ${this.password}`) {
      this.wrongTries += 1;
      return { ...failure(4, 'The user name or password is incorrect.'), status: 401 };
    }
    this.logins += 1;
    this.#tokens.add(this.token);
    return { status: 200, body: [{ Token: this.token }] };
  }

  #look(what: string): DoubleAnswer {
    const { group } = this;
    const disks = [...group.disks.values()];
    switch (what) {
      case 'serverGroups':
        return { status: 200, body: [{ Id: group.id, Alias: 'Server Group' }] };
      case 'virtualdisks':
        group.advance();
        for (const disk of disks) disk.replication?.partner?.group.advance();
        return { status: 200, body: disks.map((disk) => diskOf(group, disk)) };
      case 'ports':
        return {
          status: 200,
          body: [...group.ports]
            .map(([PortName, HostId]) => ({ PortName, HostId }))
            .concat([{ PortName: 'iqn.of:nobody', HostId: '' }]),
        };
      case 'virtuallogicalunits':
        return {
          status: 200,
          body: disks.flatMap((disk) =>
            [...disk.servedTo].map(([HostId, lun]) => ({
              Type: 1,
              VirtualDiskId: disk.id,
              HostId,
              Lun: { Quad: lun },
            })),
          ),
        };
      default:
        return failure(5, `There is no ${what}.`);
    }
  }

  #changed(request: DoubleRequest, what: string): DoubleAnswer | typeof lost {
    if (this.dying) {
      this.dying = false;
      return lost;
    }
    if (this.busyOperations > 0 && what.startsWith('replications/')) {
      this.busyOperations -= 1;
      return failure(7, 'Another operation is in progress.');
    }
    const trap = this.traps.find(({ matches }) => matches(request));
    this.traps = this.traps.filter((one) => one !== trap);
    try {
      this.#change(request, what);
    } catch (error) {
      if (error instanceof Refusal) return failure(error.code, error.message);
      throw error;
    }
    if (trap?.effect === 'lose') return lost;
    if (trap?.effect === 'die') this.dying = true;
    return { status: 200 };
  }

  #change({ method, body }: DoubleRequest, what: string): void {
    const [, kind = '', id = ''] = /^(\w+)\/(.+)$/.exec(what) ?? [];
    const fields = (body ?? {}) as Readonly<Record<string, unknown>>;
    const operation = String(fields['Operation']);
    const host = String(fields['Host']);
    if (kind === 'virtualdisks' && method === 'PUT') {
      const text = String(fields['Description']);
      if (text.length > 1024) throw new Refusal(3, 'The description is too long.');
      this.group.disk(id).description = text;
    } else if (kind === 'virtualdisks' && operation === 'Serve') this.group.serve(id, host);
    else if (kind === 'virtualdisks' && operation === 'Unserve') this.group.unserve(id, host);
    else if (kind === 'replications') this.group.operate(id, operation, fields['Force'] === true);
    else throw new Refusal(3, `There is no ${method} ${what}.`);
  }
}

function diskOf(group: Group, disk: Disk): unknown {
  const { replication } = disk;
  const toSend =
    replication === null ? 0 : [...replication.buffer.values()].reduce((sum, text) => sum + text.length, 0);
  const sends = replication?.stand === 'active' && replication.transfer === 'Transferring';
  return {
    Id: disk.id,
    Alias: disk.alias,
    Caption: disk.alias,
    Description: disk.description,
    ScsiDeviceIdString: disk.naa,
    Status: 'Healthy',
    IsServed: disk.servedTo.size > 0,
    PerformanceData: {
      CollectionTime: `/Date(${group.collect()}+0200)/`,
      ReplicationBytesToSend: group.lies || !sends ? 0 : toSend + (replication.whole ? 1 : 0),
      ReplicationTimeLag: 0,
    },
    VirtualDiskReplicationData: replication === null ? null : replicationOf(group, replication),
  };
}

function replicationOf(group: Group, replication: NonNullable<Disk['replication']>): unknown {
  const { stand, partner, transfer, whole, id } = replication;
  const words = {
    active: whole ? 'Active - 40 % initialized' : 'Active',
    standby: 'Standby',
    testing: 'Standby - Test mode',
  };
  const connected = group.lies || group.connected(partner);
  return {
    Id: id,
    Caption: `Replication of ${partner?.disk.alias ?? 'nothing'}`,
    Status: words[stand],
    StatusLevel: connected ? 0 : 2,
    TransferStatus: connected ? transfer : 'Failed',
    PartnerVirtualDiskAlias: partner?.disk.alias ?? null,
  };
}

function failure(ErrorCode: number, ErrorMessage: string): DoubleAnswer {
  return { status: 400, body: { ErrorCode, ErrorMessage } };
}
