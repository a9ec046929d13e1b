/** Whatever an argument holds, a real shell hands it over unchanged. */
import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import t from 'tap';
import { shellCommand, shellQuote } from '../../src/adapters/ssh/quote.ts';

const argument = fc.oneof(
  fc.string({ unit: fc.constantFrom(...'\'"\\`$(){}[];&|<>*?!#~^%=\n\r\t -ab') }),
  fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\0', '').toWellFormed()),
);

t.test('a real sh takes a quoted command apart into the same arguments', (t) => {
  fc.assert(
    fc.property(fc.array(argument, { minLength: 1, maxLength: 20 }), (argv) => {
      const line = shellCommand(['printf', '%s\\0', ...argv]);
      const said = execFileSync('/bin/sh', ['-c', line], { encoding: 'utf8' });
      return said === argv.map((one) => `${one}\0`).join('');
    }),
    { numRuns: 150 },
  );
  t.end();
});

t.test('what cannot be an argument is refused', (t) => {
  t.equal(shellQuote(''), "''");
  t.throws(() => shellQuote('a\0b'), /NUL/);
  t.throws(() => shellCommand([]), /program/);
  t.throws(() => shellCommand(['', 'x']), /program/);
  t.end();
});
