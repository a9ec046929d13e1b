/**
 * A small iSCSI initiator: one session to one LUN, which reads, writes, and asks for the identifiers that XenServer makes
 * a SCSIid of (RFC 7143, SPC-4 7.8.6). It logs in without CHAP.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

const headerBytes = 48;
const blockBytes = 512;
const op = { command: 0x01, login: 0x03, logout: 0x06, response: 0x21, dataIn: 0x25 } as const;

interface Pdu {
  readonly header: Buffer;
  readonly data: Buffer;
}

export class Initiator {
  readonly #socket: Socket;
  readonly #lun: number;
  #received = Buffer.alloc(0);
  #ended = false;
  #tag = 1;
  #command = 1;
  #status = 0;

  private constructor(socket: Socket, lun: number) {
    this.#socket = socket;
    this.#lun = lun;
    socket.on('data', (piece) => {
      this.#received = Buffer.concat([this.#received, piece]);
    });
    // What breaks the connection is told by whatever waits for an answer.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#ended = true;
      socket.emit('data', Buffer.alloc(0));
    });
  }

  /** Rejects when the target does not let this initiator in. `portal`: `ADDRESS:PORT`. */
  static async login(portal: string, target: string, lun: number, name: string): Promise<Initiator> {
    const at = portal.lastIndexOf(':');
    const socket = connect(Number(portal.slice(at + 1)), portal.slice(0, at));
    await once(socket, 'connect');
    const session = new Initiator(socket, lun);
    const keys = [
      `InitiatorName=${name}`,
      `TargetName=${target}`,
      'SessionType=Normal',
      'HeaderDigest=None',
      'DataDigest=None',
      'ImmediateData=Yes',
    ];
    const header = Buffer.alloc(headerBytes);
    // Immediate, and from the operational stage to the full feature phase.
    header[0] = 0x40 | op.login;
    header[1] = 0x87;
    header[8] = 0x80;
    try {
      const { header: answer } = await session.#ask(header, Buffer.from(`${keys.join('\0')}\0`));
      const status = answer.readUInt16BE(36);
      if (status === 0) return session;
      throw new Error(`status ${status.toString(16)}`);
    } catch (error) {
      socket.destroy();
      throw new Error(`login of ${name} at ${target} is refused`, { cause: error });
    }
  }

  get isOver(): boolean {
    return this.#ended;
  }

  /** As udev's scsi_id says it: the NAA identifier of 16 bytes behind the digit of its kind. */
  async scsiId(): Promise<string> {
    const page = await this.#inquire(0x83);
    for (let at = 4; at + 4 <= page.length; at += 4 + (page[at + 3] ?? 0)) {
      const designator = page.subarray(at + 4, at + 4 + (page[at + 3] ?? 0));
      const isNaa = ((page[at + 1] ?? 0) & 0x0f) === 3 && (designator[0] ?? 0) >> 4 === 6;
      if (isNaa && designator.length === 16) return `3${designator.toString('hex')}`;
    }
    throw new Error('the LUN has no registered identifier');
  }

  async serial(): Promise<string> {
    return (await this.#inquire(0x80)).subarray(4).toString('latin1').trim();
  }

  /** `text` at the start of this block; durable when it returns. */
  async write(block: number, text: string): Promise<void> {
    const data = Buffer.alloc(blockBytes);
    data.write(text);
    const cdb = Buffer.alloc(16);
    cdb[0] = 0x2a;
    cdb.writeUInt32BE(block, 2);
    cdb.writeUInt16BE(1, 7);
    await this.#scsi(cdb, 0, data);
    const flush = Buffer.alloc(16);
    flush[0] = 0x35;
    await this.#scsi(flush, 0);
  }

  async read(block: number): Promise<string> {
    const cdb = Buffer.alloc(16);
    cdb[0] = 0x28;
    cdb.writeUInt32BE(block, 2);
    cdb.writeUInt16BE(1, 7);
    return (await this.#scsi(cdb, blockBytes)).toString('utf8').replace(/\0+$/, '');
  }

  async logout(): Promise<void> {
    const header = Buffer.alloc(headerBytes);
    header[0] = 0x40 | op.logout;
    header[1] = 0x80;
    if (!this.#ended) await this.#ask(header).catch(() => undefined);
    this.#socket.destroy();
  }

  async #inquire(page: number): Promise<Buffer> {
    const cdb = Buffer.alloc(16);
    cdb[0] = 0x12;
    cdb[1] = 1;
    cdb[2] = page;
    cdb.writeUInt16BE(252, 3);
    return this.#scsi(cdb, 252);
  }

  async #scsi(cdb: Buffer, expects: number, data = Buffer.alloc(0)): Promise<Buffer> {
    // A new session is told first what has happened to the LUN; that is asked for once.
    for (let tries = 0; ; tries += 1) {
      const { status, data: answer } = await this.#one(cdb, expects, data);
      if (status === 0) return answer;
      if (tries === 2) throw new Error(`the LUN answers ${status} to command ${cdb[0]?.toString(16)}`);
    }
  }

  async #one(
    cdb: Buffer,
    expects: number,
    data: Buffer,
  ): Promise<{ readonly status: number; readonly data: Buffer }> {
    const header = Buffer.alloc(headerBytes);
    header[0] = op.command;
    header[1] = 0x81 | (expects > 0 ? 0x40 : 0) | (data.length > 0 ? 0x20 : 0);
    header[9] = this.#lun;
    header.writeUInt32BE(expects + data.length, 20);
    cdb.copy(header, 32);
    this.#send(header, data);
    this.#command += 1;
    const pieces: Buffer[] = [];
    for (;;) {
      const answer = await this.#receive();
      const kind = (answer.header[0] ?? 0) & 0x3f;
      if (kind === op.dataIn) pieces.push(answer.data);
      const ends = kind === op.response || (kind === op.dataIn && ((answer.header[1] ?? 0) & 0x01) === 1);
      if (!ends) continue;
      this.#status = answer.header.readUInt32BE(24);
      return { status: answer.header[3] ?? 0, data: Buffer.concat(pieces) };
    }
  }

  async #ask(header: Buffer, data = Buffer.alloc(0)): Promise<Pdu> {
    this.#send(header, data);
    const answer = await this.#receive();
    this.#status = answer.header.readUInt32BE(24);
    return answer;
  }

  #send(header: Buffer, data: Buffer): void {
    header.writeUIntBE(data.length, 5, 3);
    header.writeUInt32BE(this.#tag, 16);
    header.writeUInt32BE(this.#command, 24);
    header.writeUInt32BE(this.#status + 1, 28);
    this.#tag += 1;
    this.#socket.write(Buffer.concat([header, data, Buffer.alloc(-data.length & 3)]));
  }

  async #receive(): Promise<Pdu> {
    const header = await this.#bytes(headerBytes);
    const length = header.readUIntBE(5, 3);
    const data = await this.#bytes(length + (-length & 3));
    return { header, data: data.subarray(0, length) };
  }

  async #bytes(count: number): Promise<Buffer> {
    while (this.#received.length < count) {
      if (this.#ended) throw new Error('the session is over');
      await once(this.#socket, 'data');
    }
    const bytes = this.#received.subarray(0, count);
    this.#received = this.#received.subarray(count);
    return bytes;
  }
}
