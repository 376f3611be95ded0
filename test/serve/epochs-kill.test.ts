/** A service that is killed at every step of a migration, beside ranks that are its clients. */
import { join } from 'node:path';
import { test } from 'node:test';
import { inTempDir } from '../helpers/cli.ts';
import { surviveKills } from '../helpers/killed-service.ts';
import { startProcess } from '../helpers/service.ts';

const NUM_KILLS = process.env.EPLB_LONG_RUNS === undefined ? 5 : 150;

test(`${NUM_KILLS} kills at every step of a migration leave all ranks at one epoch`, {
  timeout: 1_200_000,
}, async () => {
  await inTempDir(async (folder) => {
    const state = join(folder, 'state');
    await surviveKills(() => startProcess(['--listen', '127.0.0.1:0', '--state', state]), NUM_KILLS);
  });
});
