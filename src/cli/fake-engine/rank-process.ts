import { rmSync } from 'node:fs';
import { tablesOf } from '../../mapping/expert-mapping.ts';
import { MigrationRank, type StepAnswer } from '../../migration/index.ts';
import { ServiceClient } from '../service/client.ts';
import type { FromRank, RankSetup, ToRank } from './messages.ts';
import { RankHost } from './rank-host.ts';
import { RankLink } from './rank-link.ts';

/** Reports of loads that may wait for the service: as many as it keeps steps open. */
const MOST_REPORTS = 8;

/** A rank of the fake engine, in this process. */
class FakeRank {
  readonly #setup: RankSetup;
  readonly #client: ServiceClient;
  readonly #link: RankLink;
  readonly #host: RankHost;
  readonly #rank: MigrationRank;
  readonly #say: (message: FromRank) => void;
  #reports: Promise<unknown> = Promise.resolve();
  #numReports = 0;
  #epoch = 0;

  constructor(setup: RankSetup, say: (message: FromRank) => void) {
    const { place, numLayers, incarnation } = setup;
    this.#setup = setup;
    this.#say = say;
    this.#client = new ServiceClient(place);
    this.#host = new RankHost(this.#client, setup, (isRestored, weights) =>
      say({ type: 'holds', isRestored, weights }),
    );
    this.#link = new RankLink(this.#client, setup, (isThere, reason) =>
      say({ type: 'service', isThere, reason }),
    );
    this.#rank = new MigrationRank({
      ...{ numLayers, incarnation, holds: null, transport: this.#link },
      resendMs: RankLink.resendMs(setup),
      host: this.#tellingRefusals(),
      // A message that cannot be read, as after a change of the service: it is sent again.
      onError: (error) => say({ type: 'service', isThere: false, reason: String(error) }),
    });
  }

  async start(): Promise<void> {
    await this.#host.listen();
    this.#say({ type: 'ready' });
  }

  async take(message: ToRank): Promise<void> {
    if (message.type === 'step') {
      const { step } = message;
      this.#say({ type: 'answer', step, answer: await this.#begin(step) });
    } else if (message.type === 'serve') this.#serve(message);
  }

  async #begin(step: number): Promise<StepAnswer> {
    if (!this.#link.hasLease) return { status: 'fenced', reason: 'its lease has run out' };
    const answer = await this.#rank.beginStep(step);
    if (answer.status === 'serve') this.#epoch = answer.epoch;
    return answer;
  }

  /** Takes its share of the tokens, and reports them. */
  #serve({ step, loads, serving }: ToRank & { readonly type: 'serve' }): void {
    const { rank, group } = this.#setup;
    const { numLayers, numRanks, numPhysicalExperts } = this.#setup;
    const { phyToLog, numLogicalExperts } = tablesOf(this.#host.mapping!);
    const slotsPerRank = numPhysicalExperts / numRanks;
    const isServing = Array.from({ length: numRanks }, (_, other) => serving.includes(other));
    const physical: number[][] = [];
    let tokens = 0;
    for (let layer = 0; layer < numLayers; layer++) {
      const row = phyToLog.subarray(layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts);
      const copies = new Int32Array(numLogicalExperts);
      for (const [slot, expert] of row.entries()) {
        if (expert >= 0 && isServing[Math.floor(slot / slotsPerRank)]) copies[expert]!++;
      }
      const own = Array.from(row.subarray(rank * slotsPerRank, (rank + 1) * slotsPerRank), (expert) =>
        expert < 0 ? 0 : loads[layer * numLogicalExperts + expert]! / copies[expert]!,
      );
      tokens += own.reduce((sum, load) => sum + load, 0);
      physical.push(own);
    }
    const holdsAny = physical.some((row, layer) =>
      row.some((_, slot) => phyToLog[layer * numPhysicalExperts + rank * slotsPerRank + slot]! >= 0),
    );
    // A rank without experts has no part.
    if (holdsAny) this.#report(`/v1/groups/${group}/loads`, { step, epoch: this.#epoch, rank, physical });
    this.#say({ type: 'served', step, tokens });
  }

  /** Reports in the order of steps, beside serving: what the service cannot take in time is left out. */
  #report(path: string, body: object): void {
    if (this.#numReports >= MOST_REPORTS) return;
    this.#numReports++;
    this.#reports = this.#reports
      .then(() => this.#client.ask('POST', path, body, this.#setup.leaseMs))
      // The step will not be whole, which the service counts.
      .catch(() => undefined)
      .finally(() => {
        this.#numReports--;
      });
  }

  /** The host, with what it refuses told to the engine too. */
  #tellingRefusals() {
    const host = this.#host;
    return {
      prepare: async (...[operation, control]: Parameters<RankHost['prepare']>) => {
        try {
          await host.prepare(operation, control);
        } catch (error) {
          const reason = error instanceof Error ? error.message : String(error);
          this.#say({ type: 'refused', epoch: operation.epoch, reason });
          throw error;
        }
      },
      swap: host.swap.bind(host),
      drop: host.drop.bind(host),
      restore: host.restore.bind(host),
    };
  }
}

/** Runs the process of a rank: it ends with the engine's, however that ends. */
export function runRankProcess(): void {
  let rank: FakeRank | undefined;
  const say = (message: FromRank) => void (process.connected && process.send!(message));
  let folder: string | undefined;
  process.on('disconnect', () => {
    // Who would have removed it is gone.
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
    process.exit(0);
  });
  // The engine's terminal sends them to all of its processes: the engine says when to end.
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => {});
  process.on('message', (message: ToRank) => {
    if (message.type === 'end') process.exit(0);
    else if (message.type === 'setup') {
      folder = message.setup.folder;
      rank = new FakeRank(message.setup, say);
      void rank.start();
    } else void rank?.take(message);
  });
}
