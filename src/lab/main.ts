/** The lab on its own: `node src/lab/main.ts up --world recordings`. Also what runs in the background after `up`. */
import { labCommand } from './commands/index.ts';

process.exitCode = await labCommand(process.argv.slice(2), {
  json: false,
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(`${text}\n`),
});
