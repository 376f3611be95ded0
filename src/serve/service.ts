import { EplbError, isOwnError } from '../core/errors.ts';
import type { TopologyFile } from '../formats/topology/topology-json.ts';
import type { WatchdogOptions } from '../watch/watchdog.ts';
import { Watchers } from './dashboard/feed.ts';
import { Overview } from './dashboard/overview.ts';
import {
  bytesOfGroup,
  checkGroupName,
  differsByRanks,
  GROUP_NAME,
  type GroupParts,
  readDeclaration,
  sameDeclaration,
} from './declaration.ts';
import type { GroupEpochs } from './epochs/group-epochs.ts';
import { Group } from './group.ts';
import { folderRecord, type GroupKeeper, type SavedGroup, type ServiceRecord } from './group-store.ts';
import { MetricsRegistry } from './metrics.ts';
import { notFound } from './refusal.ts';
import { REAL_TIME, type ServeTime } from './time.ts';

/** How much a service takes on. */
export interface ServiceLimits {
  /** Groups at one time. Default 64. */
  readonly maxGroups: number;
  /** Bytes of all groups' windows and tables, as estimated when they are declared. Default 1 GiB. */
  readonly maxMemoryBytes: number;
  /** Streams of events of each group. Default 256. */
  readonly maxListeners: number;
  /** Streams of the dashboard, of all groups together. Default 64. */
  readonly maxWatchers: number;
}

/** What a service is given beside its limits. */
export interface ServiceHooks {
  readonly time?: ServeTime;
  /** What is a fault of the service, of no request. */
  readonly onFault?: (error: unknown) => void;
  readonly watchdog?: WatchdogOptions;
  /** What the devices are, of groups that name neither a topology nor their ranks. */
  readonly topology?: TopologyFile;
}

/** All groups of a service, and where they are kept. */
export class PlanningService {
  /** What is counted of the groups, and what is wrong with them. */
  readonly metrics: MetricsRegistry;
  /** How all groups stand, for the dashboard. */
  readonly overview: Overview;
  readonly #watchers: Watchers;
  readonly #limits: ServiceLimits;
  #record: ServiceRecord;
  readonly #hooks: ServiceHooks;
  readonly #groups = new Map<string, Group>();
  #lastChange: Promise<unknown> = Promise.resolve();

  private constructor(limits: ServiceLimits, record: ServiceRecord, hooks: ServiceHooks) {
    this.metrics = new MetricsRegistry(hooks.watchdog ?? {});
    this.#watchers = new Watchers(limits.maxWatchers);
    const dashboards = () => this.groups().map(({ dashboard }) => dashboard);
    this.overview = new Overview(dashboards, hooks.time ?? REAL_TIME, this.#watchers);
    this.#limits = limits;
    this.#record = record;
    this.#hooks = hooks;
  }

  /**
   * Opens a service with the groups that its folder has.
   *
   * @param folder where groups are kept; undefined to keep nothing
   * @throws EplbError `EPLB_FILE`; EplbRangeError `EPLB_FORMAT` for a journal that is damaged
   */
  static async open(
    limits: ServiceLimits,
    folder: string | undefined,
    hooks: ServiceHooks = {},
  ): Promise<PlanningService> {
    const service = new PlanningService(limits, folderRecord(folder), hooks);
    await service.#open();
    return service;
  }

  /** Goes on with the groups of a record, as its only writer. There are none when it is called. */
  goOn(record: ServiceRecord): Promise<void> {
    return this.#change(async () => {
      this.#record = record;
      await this.#open();
    });
  }

  /** Lets go of all groups: another one writes to their record by now. */
  letGo(): Promise<void> {
    // What waits for them fails at once, and is not waited for.
    const groups = [...this.#groups.values()];
    for (const group of groups) group.epochs.close();
    return this.#change(async () => {
      const all = [...this.#groups.values()];
      this.#groups.clear();
      await Promise.allSettled(all.map((group) => group.close({ saves: false })));
    });
  }

  async #open(): Promise<void> {
    for (const name of await this.#record.names()) {
      if (!GROUP_NAME.test(name)) continue;
      const store = this.#record.keeperOf(name);
      const saved = await store.read();
      if (saved === undefined) {
        // Its declaration was never durable, so nobody was told that it is there.
        await store.remove();
        continue;
      }
      const group = this.#makeSaved(name, saved, store);
      this.#groups.set(name, group);
      await group.resume(saved);
      // The first plan is then as quick as the others.
      await group.balancer.start();
    }
  }

  /** In the order of their names. */
  groups(): readonly Group[] {
    return [...this.#groups.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** @throws EplbError `EPLB_NOT_FOUND` */
  group(name: string): Group {
    const group = this.#groups.get(name);
    if (group !== undefined) return group;
    throw notFound(`there is no group '${name.slice(0, 64)}'; declare it with PUT /v1/groups/NAME`);
  }

  /**
   * Declares a group. Declared again with the same content it stays as it is.
   *
   * @throws EplbError `EPLB_CONFLICT` for other content, `EPLB_LIMIT`; EplbTypeError, EplbRangeError
   */
  declare(name: string, given: unknown): Promise<{ readonly group: Group; readonly isNew: boolean }> {
    return this.#change(async () => {
      checkGroupName('group', name);
      const parts = readDeclaration(given, this.#hooks.topology);
      const known = this.#groups.get(name);
      if (known !== undefined) {
        if (sameDeclaration(known.declaration, parts.declaration)) return { group: known, isNew: false };
        if (differsByRanks(known.declaration, parts.declaration)) {
          this.#checkMemory(parts, name);
          await known.resize(parts);
          return { group: known, isNew: false };
        }
        const message = `group ${name} is declared with other content; DELETE it first`;
        throw new EplbError('EPLB_CONFLICT', message);
      }
      this.#checkRoom(parts);
      const group = this.#make(name, parts, this.#record.keeperOf(name));
      try {
        await group.declare();
        await group.balancer.start();
      } catch (error) {
        await group.close({ remove: true }).catch(() => undefined);
        throw error;
      }
      this.#groups.set(name, group);
      return { group, isNew: true };
    });
  }

  /** Forgets a group, and all that was kept of it. @throws EplbError `EPLB_NOT_FOUND` */
  remove(name: string): Promise<void> {
    return this.#change(async () => {
      const group = this.group(name);
      this.#groups.delete(name);
      await group.close({ remove: true });
    });
  }

  /** Writes down what was recorded since the last time. */
  async saveWindows(): Promise<void> {
    for (const group of this.#groups.values()) await group.saveWindow();
  }

  /** Ends all streams of events: nothing else would. */
  endStreams(): void {
    this.overview.feed.close();
    for (const group of this.#groups.values()) {
      group.epochs.hub.close();
      group.dashboard.feed.close();
    }
  }

  /** Writes everything down and ends all threads. */
  async close(): Promise<void> {
    await this.#change(async () => {
      const closed = await Promise.allSettled([...this.#groups.values()].map((group) => group.close()));
      const failed = closed.find(({ status }) => status === 'rejected');
      if (failed?.status === 'rejected') throw failed.reason;
    });
  }

  /** @throws EplbRangeError `EPLB_FORMAT`, naming the file, for records that do not follow from each other */
  #makeSaved(name: string, saved: SavedGroup, store: GroupKeeper): Group {
    const parts = readDeclaration(saved.declaration);
    try {
      return this.#make(name, parts, store, saved);
    } catch (error) {
      if (isOwnError(error)) error.message = `${name}.journal: ${error.message}`;
      throw error;
    }
  }

  #make(name: string, parts: GroupParts, store: GroupKeeper, saved?: SavedGroup): Group {
    const { policy } = parts.declaration;
    const { time = REAL_TIME, onFault = () => undefined } = this.#hooks;
    const { maxListeners } = this.#limits;
    const makeMetrics = (group: Group) =>
      this.metrics.add({
        name,
        policy,
        balancer: group.balancer,
        cost: group.cost,
        get epoch() {
          return group.epoch;
        },
        get isPaused() {
          return group.isPaused;
        },
        get live() {
          return group.liveRanks;
        },
        // The group has its epochs after its metrics.
        migration: () => (group.epochs as GroupEpochs | undefined)?.migrationView,
      });
    const watchers = this.#watchers;
    return new Group(name, parts, { store, saved, time, maxListeners, watchers, makeMetrics, onFault });
  }

  #checkRoom(parts: GroupParts): void {
    const { maxGroups } = this.#limits;
    if (this.#groups.size >= maxGroups) {
      throw new EplbError('EPLB_LIMIT', `group: there are ${maxGroups}, as many as limits.maxGroups allows`);
    }
    this.#checkMemory(parts);
  }

  /** @param except the group that they are in place of */
  #checkMemory({ declaration }: GroupParts, except = ''): void {
    const { maxMemoryBytes } = this.#limits;
    const others = [...this.#groups.values()].filter(({ name }) => name !== except);
    const used = others.reduce((sum, group) => sum + bytesOfGroup(group.declaration), 0);
    const wanted = used + bytesOfGroup(declaration);
    if (wanted <= maxMemoryBytes) return;
    const message = `group: all groups would need ${wanted} bytes; limits.maxMemoryBytes is ${maxMemoryBytes}`;
    throw new EplbError('EPLB_LIMIT', message);
  }

  /** Declares and removes one after the other. */
  #change<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#lastChange.then(work);
    this.#lastChange = result.catch(() => {});
    return result;
  }
}
