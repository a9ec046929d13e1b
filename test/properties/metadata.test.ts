/** Whatever the document holds: nothing is lost, nothing dangles, and taking apart and putting together undo each other. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { canonicalDocument, fingerprint } from '../../src/metadata/canonical.ts';
import { formatDocument, packDocument, parseArchive, parseDocument } from '../../src/metadata/document.ts';
import { rewriteForRecovery } from '../../src/metadata/recovery.ts';
import { danglingReferences, dropObjects } from '../../src/metadata/rewrite.ts';
import { merge, split } from '../../src/metadata/split.ts';
import { splitStream } from '../../src/metadata/split-stream.ts';
import {
  formatXmlValue,
  parseXmlValue,
  parseXmlValueStrictly,
  XmlValueError,
} from '../../src/metadata/xmlvalue.ts';
import { anyPool, anyValue, plain, plainDocument, twoExports } from '../metadata/support.ts';

const runs = { numRuns: 120 };

t.test('a value that was written is read back as it was, by both readers', async () => {
  fc.assert(
    fc.property(anyValue, (value) => {
      const xml = formatXmlValue(value);
      assert.deepEqual(plain(parseXmlValue(xml)), plain(value));
      assert.deepEqual(plain(parseXmlValueStrictly(xml)), plain(value));
    }),
    { numRuns: 300 },
  );
});

t.test('the quick reader accepts what the strict one accepts, and reports the same errors', async () => {
  const outcome = (read: (text: string) => unknown, xml: string): unknown => {
    try {
      return read(xml);
    } catch (error) {
      if (error instanceof XmlValueError) return [error.message, error.line, error.column];
      throw error;
    }
  };
  const noise = fc.constantFrom(
    '<',
    '>',
    '&',
    '&amp;',
    '&#65;',
    '</value>',
    '<value>',
    ' ',
    '\n',
    '\r',
    ']]>',
    '<!-- x -->',
    '<![CDATA[<]]>',
    '\u0001',
    '<name>',
    '1',
  );
  fc.assert(
    fc.property(anyValue, fc.nat(), fc.nat(6), noise, (value, at, cut, put) => {
      const xml = formatXmlValue(value);
      const place = at % (xml.length + 1);
      const damaged = xml.slice(0, place) + put + xml.slice(place + cut);
      assert.deepEqual(
        outcome((x) => plain(parseXmlValue(x)), damaged),
        outcome((x) => plain(parseXmlValueStrictly(x)), damaged),
      );
    }),
    { numRuns: 600 },
  );
});

t.test('a document that was only read and written means the same', async () => {
  fc.assert(
    fc.property(anyPool, (pool) => {
      assert.deepEqual(plainDocument(parseDocument(formatDocument(pool))), plainDocument(pool));
      assert.deepEqual(plainDocument(parseArchive(packDocument(pool))), plainDocument(pool));
    }),
    runs,
  );
});

t.test('two exports of an unchanged VM have one canonical form and one fingerprint', async () => {
  fc.assert(
    fc.property(twoExports, ([first, second]) => {
      const [a, b] = [split(first), split(second)];
      assert.equal(a.length, b.length);
      for (const [index, vm] of a.entries()) {
        const other = b[index];
        if (other === undefined) throw new Error('one export has fewer VMs');
        assert.deepEqual(
          vm.document.objects.map((o) => [o.class, o.id]),
          other.document.objects.map((o) => [o.class, o.id]),
        );
        assert.equal(fingerprint(vm.document), fingerprint(other.document));
        assert.equal(formatDocument(canonicalDocument(vm.document)), formatDocument(vm.document));
      }
    }),
    runs,
  );
});

t.test('split undoes merge, with and without snapshots', async () => {
  fc.assert(
    fc.property(anyPool, fc.boolean(), (pool, snapshots) => {
      const parts = split(pool, { snapshots });
      const merged = merge(parts.map((part) => part.document));
      assert.deepEqual(danglingReferences(merged), []);
      const again = new Map(
        split(merged, { snapshots }).map((part) => [part.uuid, formatDocument(part.document)]),
      );
      assert.equal(again.size, parts.length);
      for (const part of parts) assert.equal(again.get(part.uuid), formatDocument(part.document));
      for (const name of ['SR', 'network', 'host', 'VDI']) {
        const uuids = merged.ofClass(name).map((object) => String(object.fields['uuid']));
        assert.equal(new Set(uuids).size, uuids.length, `one copy of each ${name}`);
      }
    }),
    runs,
  );
});

t.test('a document of one VM holds all that it needs and nothing of the others', async () => {
  fc.assert(
    fc.property(anyPool, (pool) => {
      for (const part of split(pool)) {
        assert.deepEqual(
          part.document.vms.map((vm) => vm.uuid),
          [part.uuid],
        );
        const before = pool.vms.find((vm) => vm.uuid === part.uuid);
        const after = part.document.vms[0];
        assert.deepEqual(
          after?.vbds.map((vbd) => vbd.vdi?.sr?.uuid).sort(),
          before?.vbds.map((vbd) => vbd.vdi?.sr?.uuid).sort(),
        );
        assert.deepEqual(
          after?.vifs.map((vif) => vif.network?.uuid).sort(),
          before?.vifs.map((vif) => vif.network?.uuid).sort(),
        );
        assert.equal(after?.vtpms.length, before?.vtpms.length);
        assert.deepEqual(danglingReferences(part.document), []);
      }
    }),
    runs,
  );
});

t.test('no rewrite leaves anything pointing at nothing', async () => {
  let number = 0;
  const identity = { uuid: () => `new-${number++}`, mac: () => `02:11:22:33:44:${number++}` };
  fc.assert(
    fc.property(anyPool, fc.boolean(), fc.boolean(), (pool, keepSnapshots, drill) => {
      const networks = [0, 1, 2].map((n) => ({
        production: `LAN ${n}`,
        recovery: { nameLabel: `DR ${n}`, bridge: `xapi8${n}` },
      }));
      const made = rewriteForRecovery(pool, { networks, keepSnapshots, ...(drill ? { identity } : {}) });
      assert.deepEqual(danglingReferences(made.document), []);
      assert.deepEqual(made.unmappedNetworks, []);
      for (const vm of made.document.vms) {
        assert.equal(vm.isControlDomain, false);
        assert.equal(vm.haRestartPriority, '');
        assert.equal(vm.affinity, null);
        for (const vbd of vm.vbds) {
          assert.equal(vbd.currentlyAttached, false);
          assert.equal(vbd.vdi === null, vbd.empty, 'a drive without disk says so');
        }
        for (const vif of vm.vifs) assert.match(vif.network?.nameLabel ?? '', /^DR /);
      }
      const kept = pool.vms.filter((vm) => !vm.isControlDomain && (keepSnapshots || !vm.isASnapshot));
      assert.equal(made.document.vms.length, kept.length);
      if (drill) {
        const old = new Set(
          pool.objects.flatMap((o) => (['VM', 'VBD', 'VIF'].includes(o.class) ? [o.fields['uuid']] : [])),
        );
        for (const object of made.document.objects)
          if (['VM', 'VBD', 'VIF'].includes(object.class)) assert.ok(!old.has(object.fields['uuid']));
      }
    }),
    runs,
  );
});

t.test('whatever is dropped, the rest is whole', async () => {
  fc.assert(
    fc.property(anyPool, fc.nat(), (pool, choice) => {
      const whole = canonicalDocument(pool);
      const victim = whole.objects[choice % whole.objects.length];
      const left = dropObjects(whole, (object) => object === victim);
      assert.deepEqual(danglingReferences(left), []);
      for (const vbd of left.ofClass('VBD')) assert.ok(left.object(String(vbd.fields['VM'])));
      for (const vif of left.ofClass('VIF')) assert.ok(left.object(String(vif.fields['network'])));
    }),
    runs,
  );
});

t.test('a stream of any pieces is split as the whole document is', async () => {
  await fc.assert(
    fc.asyncProperty(
      anyPool,
      fc.boolean(),
      fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1 }),
      async (pool, snapshots, sizes) => {
        const archive = packDocument(pool);
        async function* pieces(): AsyncGenerator<Uint8Array> {
          for (let at = 0, turn = 0; at < archive.length; turn += 1) {
            const size = sizes[turn % sizes.length] ?? 1;
            yield archive.subarray(at, at + size);
            at += size;
          }
        }
        const streamed: string[] = [];
        for await (const part of splitStream(pieces(), { snapshots }))
          streamed.push(formatDocument(part.document));
        assert.deepEqual(
          streamed,
          split(parseArchive(archive), { snapshots }).map((part) => formatDocument(part.document)),
        );
      },
    ),
    { numRuns: 60 },
  );
});
