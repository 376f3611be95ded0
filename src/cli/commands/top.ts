import type { Command } from 'commander';
import { jsonLines } from '../../core/printable.ts';
import { outputColors } from '../colors.ts';
import { addHelpTexts } from '../help.ts';
import { numberParser } from '../option-values.ts';
import { ServiceClient, sleep } from '../service/client.ts';
import { addPlaceOptions, type PlaceOptions, placeOf } from '../service/place.ts';
import { columnsOf, print } from '../terminal.ts';
import { askTop } from '../top/ask.ts';
import { renderTop, type TopSnapshot } from '../top/frame.ts';
import { Screen } from '../top/screen.ts';

interface TopFlags extends PlaceOptions {
  readonly group?: string;
  readonly interval: number;
  readonly once?: boolean;
  readonly json?: boolean;
}

/** Gives the subcommand its options, help and action. */
export function configure(command: Command): void {
  addPlaceOptions(command)
    .option('--group <name>', 'one group; with the token of a group that one has to be named')
    .option('--interval <S>', 'seconds between two looks', numberParser('--interval', 0.1, 3600), 1)
    .option('--once', 'show it once: so it is where the output is not a terminal')
    .option('--json', "print once, as JSON, what the service's dashboard routes answer")
    .action(run);
  addHelpTexts(command, {
    examples: [
      ['eplb top', 'of the service on this machine'],
      ['eplb top --url http://127.0.0.1:8770 --group decode --once', 'one group, once'],
    ],
  });
}

async function run(flags: TopFlags): Promise<void> {
  const place = await placeOf(flags, process.env);
  const client = new ServiceClient(place);
  try {
    const look = () => askTop(client, place.url, flags.group);
    const first = await look();
    if (flags.json === true) {
      const { overview = null, groups, url } = first;
      print(process.stdout, `${jsonLines({ url, overview, groups })}\n`);
    } else if (flags.once === true || !process.stdout.isTTY) print(process.stdout, frameOf(first));
    else await watch(first, look, 1000 * flags.interval);
  } finally {
    client.close();
  }
}

function frameOf(snapshot: TopSnapshot): string {
  return renderTop(snapshot, { columns: columnsOf(process.stdout), colors: outputColors() });
}

/** Shows it until Ctrl-C or SIGTERM. */
async function watch(
  first: TopSnapshot,
  look: () => Promise<TopSnapshot>,
  intervalMs: number,
): Promise<void> {
  const stop = new AbortController();
  const end = () => stop.abort();
  process.on('SIGINT', end).on('SIGTERM', end);
  const screen = new Screen(process.stdout);
  let shown = first;
  const show = () => screen.show(frameOf(shown));
  process.stdout.on('resize', show);
  try {
    while (!stop.signal.aborted) {
      show();
      await sleep(intervalMs, stop.signal);
      if (stop.signal.aborted) break;
      try {
        shown = await look();
      } catch (error) {
        // It may be back at the next look.
        shown = { ...shown, problem: (error as Error).message };
      }
    }
  } finally {
    process.stdout.off('resize', show);
    process.off('SIGINT', end).off('SIGTERM', end);
    screen.close();
  }
}
