/** Exports points into argv[2] and kills itself at the step argv[3]. Prints the id of each point once it is sealed. */
import { writeSync } from 'node:fs';
import { LocalStore } from '../../src/adapters/catalog/local-store.ts';
import { FaultyStore } from './faulty-store.ts';
import { documentOf, exportPoint, localCatalog } from './world.ts';

const [, , directory = '', step = '0'] = process.argv;
const store = new FaultyStore(new LocalStore('t1', directory), {
  before: (n) => {
    if (n === Number(step)) process.kill(process.pid, 'SIGKILL');
  },
});
const catalog = localCatalog([], { targets: [store.store] });
for (let minute = 1; minute < 9; minute += 1) {
  const point = await exportPoint(catalog, 'payroll', minute, {
    a: documentOf('a'),
    b: documentOf(`b${minute}`, 500),
  });
  writeSync(1, `${point.id}\n`);
}
