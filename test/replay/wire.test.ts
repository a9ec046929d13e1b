/**
 * Answers and requests of a real xapi, byte for byte, over both transports. The recordings lie beside the repository
 * and may be absent; the small samples here are always tried.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { decodeDate, encodeDate, type XapiValue } from '../../src/adapters/xenapi/values.ts';
import {
  type Answer,
  decodeTaskResult,
  encodeJsonCall,
  encodeXmlCall,
  readJsonAnswer,
  type XapiParam,
  XmlAnswerReader,
} from '../../src/adapters/xenapi/wire.ts';
import { formatXmlValue, isStruct, type XmlValue, XmlValueReader } from '../../src/metadata/xmlvalue.ts';

const recordings = join(import.meta.dirname, '../../../shared/recordings/wire');

function readXmlAnswer(text: string, method: string, pieceBytes = 17): Answer {
  const reader = new XmlAnswerReader();
  const bytes = Buffer.from(text, 'utf8');
  // In pieces that cut through tags and characters.
  for (let at = 0; at < bytes.length; at += pieceBytes) reader.write(bytes.subarray(at, at + pieceBytes));
  return reader.end(method);
}

/** The same value without prototypes, and without the tag that the recording itself added between the transports. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.filter((item) => item !== 'wire').map(plain);
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(
      Object.entries(value)
        .map(([name, item]) => [name, plain(item)] as const)
        .sort(([a], [b]) => (a < b ? -1 : 1)),
    );
  return value;
}

function xmlRequest(text: string): { method: string | null; params: readonly XmlValue[] } {
  const reader = new XmlValueReader();
  reader.write(text);
  return { params: reader.end(), method: reader.methodName };
}

const success = (value: string): string =>
  `<?xml version="1.0"?><methodResponse><params><param><value><struct><member><name>Status</name><value>Success</value></member><member><name>Value</name>${value}</member></struct></value></param></params></methodResponse>`;

t.test('recorded answers decode alike over both transports', (t) => {
  if (!existsSync(recordings)) {
    t.comment('the recordings are not here');
    t.end();
    return;
  }
  const names = readdirSync(recordings)
    .filter((name) => name.endsWith('.request.xml'))
    .map((name) => name.slice(0, -'.request.xml'.length));
  t.ok(names.length >= 20, 'there are recordings');
  for (const name of names) {
    const xmlText = readFileSync(join(recordings, `${name}.response.xml`), 'utf8');
    const { method } = xmlRequest(readFileSync(join(recordings, `${name}.request.xml`), 'utf8'));
    const overXml = readXmlAnswer(xmlText, method ?? '');
    const jsonFile = join(recordings, `${name}.response.json`);
    if (existsSync(jsonFile))
      t.strictSame(
        plain(overXml),
        plain(readJsonAnswer(readFileSync(jsonFile, 'utf8'), method ?? '')),
        `${name}: ${method}`,
      );
    const reader = new XmlValueReader();
    reader.write(xmlText);
    const [envelope] = reader.end();
    t.equal(
      `<?xml version="1.0"?><methodResponse><params><param>${envelope === undefined ? '' : formatXmlValue(envelope)}</param></params></methodResponse>`,
      xmlText.trimEnd(),
      `${name}: read and written back is the same`,
    );
  }
  t.end();
});

t.test('recorded requests are what this client sends', (t) => {
  if (!existsSync(recordings)) {
    t.comment('the recordings are not here');
    t.end();
    return;
  }
  for (const file of readdirSync(recordings).filter((name) => name.endsWith('.request.json'))) {
    const text = readFileSync(join(recordings, file), 'utf8');
    const request = JSON.parse(text) as { method: string; params: XapiParam[]; id: number; jsonrpc?: string };
    const ours = JSON.parse(
      encodeJsonCall(
        request.method,
        request.params,
        request.id,
        request.jsonrpc === undefined ? '1.0' : '2.0',
      ),
    );
    t.strictSame(ours, request, file);
    const xmlFile = join(recordings, file.replace(/json$/, 'xml'));
    if (!existsSync(xmlFile)) continue;
    const theirs = xmlRequest(readFileSync(xmlFile, 'utf8'));
    const sent = xmlRequest(encodeXmlCall(request.method, request.params));
    t.equal(sent.method, theirs.method, `${file}: method over XML-RPC`);
    const shape = (values: readonly XmlValue[]): string =>
      values.map(formatXmlValue).join('').replace('<double>1.0</double>', '<double>1</double>');
    t.equal(shape(sent.params), shape(theirs.params), `${file}: parameters over XML-RPC`);
  }
  t.end();
});

t.test('numbers beyond 2^53 are exact, ordinary ones are numbers', (t) => {
  const record = (int: string): string =>
    `{"jsonrpc":"2.0","result":{"OpaqueRef:1":{"uuid":"u","virtual_size":${int},"name_label":"9007199254740993"}},"id":1}`;
  const size = (answer: Answer): XapiValue => {
    if (!answer.ok) throw new Error('a success was expected');
    const vdi = (answer.value as { 'OpaqueRef:1': { virtual_size: XapiValue; name_label: XapiValue } })[
      'OpaqueRef:1'
    ];
    t.equal(vdi.name_label, '9007199254740993', 'text stays text');
    return vdi.virtual_size;
  };
  t.equal(size(readJsonAnswer(record('1073741824'), 'VDI.get_all_records')), 1073741824);
  t.equal(size(readJsonAnswer(record('9007199254740993'), 'VDI.get_all_records')), 9007199254740993n);
  const overXml = readXmlAnswer(
    success(
      '<value><struct><member><name>OpaqueRef:1</name><value><struct><member><name>virtual_size</name><value>9007199254740993</value></member><member><name>name_label</name><value>9007199254740993</value></member></struct></value></member></struct></value>',
    ),
    'VDI.get_all_records',
  );
  t.equal(size(overXml), 9007199254740993n);
  t.match(
    encodeXmlCall('VDI.resize', ['s', 'OpaqueRef:1', 9007199254740993n]),
    /<string>9007199254740993<\/string>/,
  );
  t.match(encodeJsonCall('VDI.resize', ['s', 'OpaqueRef:1', 9007199254740993n], 1), /"9007199254740993"/);
  t.throws(() => encodeXmlCall('VDI.resize', ['s', 'OpaqueRef:1', 2 ** 60]), /not an exact integer/);
  t.end();
});

t.test('NaN and infinity, which are not JSON, are read, and never inside text', (t) => {
  const answer = readJsonAnswer(
    '{"jsonrpc":"2.0","result":{"io_read_kbs":NaN,"io_write_kbs":-Infinity,"uuid":"NaN \\" Infinity"},"id":1}',
    'VBD_metrics.get_record',
  );
  if (!answer.ok) throw new Error('a success was expected');
  t.strictSame(plain(answer.value), {
    io_read_kbs: Number.NaN,
    io_write_kbs: Number.NEGATIVE_INFINITY,
    uuid: 'NaN " Infinity',
  });
  t.end();
});

t.test(
  'unset dates and null references are null, void is null, versions of JSON-RPC differ only outside',
  (t) => {
    const read = (text: string, method: string): XapiValue => {
      const answer = readJsonAnswer(text, method);
      if (!answer.ok) throw new Error('a success was expected');
      return answer.value;
    };
    t.equal(read('{"jsonrpc":"2.0","result":"19700101T00:00:00Z","id":1}', 'VM.get_snapshot_time'), null);
    t.equal(read('{"jsonrpc":"2.0","result":"OpaqueRef:NULL","id":1}', 'VM.get_affinity'), null);
    t.equal(read('{"jsonrpc":"2.0","result":"","id":1}', 'VDI.get_metadata_of_pool'), null);
    t.equal(read('{"jsonrpc":"2.0","result":"","id":1}', 'VM.add_tags'), null);
    t.equal(read('{"result":"x","error":null,"id":1}', 'VM.get_name_label'), 'x');
    t.strictSame(
      readJsonAnswer('{"result":null,"error":["HANDLE_INVALID","VM","r"],"id":1}', 'VM.get_record'),
      {
        ok: false,
        failure: ['HANDLE_INVALID', 'VM', 'r'],
      },
    );
    t.end();
  },
);

t.test('dates travel in UTC whatever the time zone of this machine', (t) => {
  t.equal(decodeDate('20260801T12:00:00Z'), '2026-08-01T12:00:00.000Z');
  t.equal(decodeDate('2026-08-01T12:00:00'), '2026-08-01T12:00:00.000Z');
  t.equal(decodeDate('20260801T12:00:00+0200'), '2026-08-01T10:00:00.000Z');
  t.equal(encodeDate('2026-08-01T14:00:00.000+02:00'), '20260801T12:00:00Z');
  t.match(
    encodeXmlCall('VM.set_snapshot_time', ['s', 'r']),
    /<methodName>VM.set_snapshot_time<\/methodName>/,
  );
  t.throws(() => decodeDate('yesterday'), /a date was expected/);
  t.end();
});

t.test('hostile text survives the way to the server; control characters do not', (t) => {
  for (const text of ['a]]>b & <c> "d" \u{1F600} ', ' two\r\nlines\t&', '']) {
    const { params } = xmlRequest(encodeXmlCall('VM.set_name_label', ['s', 'r', text]));
    t.equal(params[2], text, JSON.stringify(text));
  }
  t.throws(() => encodeXmlCall('VM.set_name_label', ['s', 'r', 'bell \u0007']));
  const [, , map] = xmlRequest(encodeXmlCall('VM.set_other_config', ['s', 'r', { 'a<&>b': '<&>' }])).params;
  t.ok(map !== undefined && isStruct(map) && map['a<&>b'] === '<&>', 'keys of maps too');
  t.end();
});

t.test('floats go as double, ints as text, null as the null reference', (t) => {
  const [, , , timeout] = xmlRequest(encodeXmlCall('event.from', ['s', ['task'], '', 30])).params;
  t.equal(timeout === undefined ? '' : formatXmlValue(timeout), '<value><double>30</double></value>');
  const [, , size, host] = xmlRequest(encodeXmlCall('VM.x', ['s', 'r', 12, null])).params;
  t.equal(size, '12');
  t.equal(host, 'OpaqueRef:NULL');
  t.end();
});

t.test('the result of a task is decoded by the type of its method', (t) => {
  t.equal(decodeTaskResult('', 'VM.start'), null);
  t.equal(decodeTaskResult('<value></value>', 'VM.start'), null);
  t.equal(decodeTaskResult('<value>4096</value>', 'host.compute_free_memory'), 4096);
  t.strictSame(
    decodeTaskResult('<value><array><data><value>OpaqueRef:1</value></data></array></value>', 'VM.import'),
    ['OpaqueRef:1'],
  );
  t.equal(
    decodeTaskResult("<value>args were: {'a': '&lt;&amp;&gt;'}</value>", 'host.call_plugin'),
    "args were: {'a': '<&>'}",
  );
  t.end();
});

t.test('answers of the wrong shape are refused with the field that is wrong', (t) => {
  t.throws(
    () => readJsonAnswer('{"jsonrpc":"2.0","result":{"memory_static_max":"much"},"id":1}', 'VM.get_record'),
    /an int was expected, not "much" \(VM\.memory_static_max\)/,
  );
  t.throws(() => readJsonAnswer('{"jsonrpc":"2.0","id":1}', 'VM.get_record'), /neither result nor error/);
  t.throws(() => readJsonAnswer('<html>', 'VM.get_record'), /not JSON/);
  t.throws(
    () =>
      readXmlAnswer(
        success('<value><struct><member><name>a<&>b</name><value>v</value></member></struct></value>'),
        'VM.get_other_config',
      ),
    /line 1/,
  );
  t.end();
});
