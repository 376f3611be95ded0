import { numOpenSlots } from '../core/open-slots.ts';
import { bytes, counted, grouped, seconds } from '../formats/number-text.ts';
import type { CostModel, ReplayConfiguration } from '../replay/configuration.ts';
import { eventsText } from '../replay/event-text.ts';
import type { ReplayReport, ReplayResult, ReplayTime } from '../replay/result.ts';
import { sentText } from '../replay/traffic-text.ts';
import { triggerText } from '../replay/trigger-text.ts';
import { type Html, html } from './html.ts';
import { scrollTable } from './scroll-table.ts';

/** A setting of the replays. */
interface Setting {
  readonly name: string;
  readonly text: (configuration: ReplayConfiguration, time: ReplayTime | undefined) => string;
}

const SETTINGS: readonly Setting[] = [
  { name: 'Slots a layer', text: slotsText },
  { name: 'Ranks', text: ranksText },
  {
    name: 'A token takes',
    text: ({ dispatch }) =>
      dispatch === 'nearest' ? 'a copy on its rank, else on its node, else any' : 'any copy of its expert',
  },
  { name: 'Groups of experts', text: ({ numGroups }) => grouped(numGroups) },
  {
    name: 'A plan is started',
    text: ({ trigger, policy }) => (policy === 'static' ? 'never' : triggerText(trigger)),
  },
  { name: 'It looks back on', text: ({ windowSize }) => counted(windowSize, 'step') },
  {
    name: 'Planning takes',
    text: ({ planningSeconds }) =>
      planningSeconds === 'measured' ? 'as long as measured' : `${seconds(planningSeconds)}, fixed`,
  },
  { name: 'Takes effect', text: ({ layersPerStep }) => `${counted(layersPerStep, 'layer')} a step` },
  { name: 'Cost model', text: ({ cost }) => cost.name },
  { name: 'A step takes', text: ({ cost }) => timeText(cost) },
  {
    name: 'Dispatch and combine',
    text: (_, time) => (time === undefined ? 'not counted' : sentText(time)),
  },
  { name: 'Weights of an expert', text: ({ cost }) => bytes(cost.bytesPerExpert) },
  {
    name: 'Links',
    text: ({ cost }) =>
      `${bytes(cost.intraNodeBytesPerSecond)}/s in a node, ${bytes(cost.interNodeBytesPerSecond)}/s ` +
      'between nodes',
  },
  {
    name: 'Weights are moved',
    text: ({ cost }) =>
      cost.concurrentTransfers === 'rank' ? 'to all ranks at once' : 'one after the other',
  },
  {
    name: 'Moves that are paid',
    text: ({ cost }) =>
      cost.countedMoves === 'rank' ? 'experts new on their rank' : 'every slot whose expert changed',
  },
  {
    name: 'A step, for planning',
    text: ({ cost: { stepSeconds } }) =>
      stepSeconds === 'modelled' ? 'as long as modelled' : seconds(stepSeconds),
  },
  { name: 'Loads of 0', text: ({ cost }) => (cost.zeroLoadsCountAsOne ? 'read as 1' : 'are 0') },
];

const RULE_NAMES: Readonly<Record<string, string>> = {
  pinned: 'pinned experts',
  neverReplicated: 'experts that are never replicated',
  sharedExpert: 'a shared expert',
};

function ranksText({
  numRanks,
  numNodes,
  nodeOfRank,
  rankSpeed,
  deadRanks,
  rules,
  events = [],
}: ReplayConfiguration) {
  const sizes = Array.from(
    { length: numNodes },
    (_, node) => nodeOfRank?.filter((own) => own === node).length ?? 0,
  );
  const parts = [
    `${grouped(numRanks)} in ${counted(numNodes, 'node')}`,
    ...(nodeOfRank === undefined ? [] : [`of ${sizes.join(', ')} ranks`]),
    ...(deadRanks === undefined ? [] : [`dead: ${deadRanks.join(', ')}`]),
    ...(rankSpeed === undefined ? [] : [`speeds: ${rankSpeed.join(', ')}`]),
    ...(rules === undefined
      ? []
      : [
          `rules: ${Object.keys(rules)
            .map((name) => RULE_NAMES[name] ?? name)
            .join(', ')}`,
        ]),
    ...events.map((event) => `before step ${grouped(event.step)}: ${eventsText([event])}`),
  ];
  return parts.join('; ');
}

function slotsText({ numPhysicalExperts, numRanks, slotsPerRank }: ReplayConfiguration): string {
  if (slotsPerRank === undefined) return grouped(numPhysicalExperts);
  return (
    `${grouped(numOpenSlots({ numPhysicalExperts, numRanks, slotsPerRank }))}, of the ranks: ` +
    `${slotsPerRank.join(', ')}`
  );
}

/** What was replayed, how, and what with. */
export function configurationTables({ recording, replays, versions }: ReplayReport): Html {
  const { path, format, numLayers, numLogicalExperts, steps, tokensPerStep, notes } = recording;
  const facts: readonly (readonly [string, string])[] = [
    ['Recording', path],
    ['Format', format],
    ['Shape', `${counted(numLayers, 'layer')} of ${counted(numLogicalExperts, 'expert')}`],
    ['Steps', `${grouped(steps.from)} to ${steps.to === null ? 'the end' : `before ${grouped(steps.to)}`}`],
    ['Tokens a step', tokensPerStep === null ? 'as recorded' : grouped(tokensPerStep)],
    ...notes.map((note) => ['Note', note] as const),
    ['Made with', `expert-load-balancer ${versions.package}, Node ${versions.node}, ${versions.platform}`],
  ];
  const factRows = facts.map(
    ([name, text]) => html`<tr><th scope="row">${name}</th><td class="text">${text}</td></tr>\n`,
  );
  const names = replays.map(({ name }) => html`<th scope="col">${name}</th>`);
  const settingRows = SETTINGS.map((setting) => settingRow(setting, replays));
  const settings = html`
<thead><tr><th scope="col">Setting</th>${names}</tr></thead>
<tbody>
${settingRows}</tbody>`;
  const factsAbout = html`What was replayed, and with which versions.`;
  const settingsAbout = html`How: one column where all policies have the same.`;
  return html`${scrollTable('facts', factsAbout, html`<tbody>${factRows}</tbody>`)}
${scrollTable('settings', settingsAbout, settings)}`;
}

function settingRow({ name, text }: Setting, replays: readonly ReplayResult[]): Html {
  const texts = replays.map(({ configuration, time }) => text(configuration, time));
  const alike = texts.every((one) => one === texts[0]);
  const cells = alike
    ? html`<td class="text" colspan="${texts.length}">${texts[0]}</td>`
    : texts.map((one) => html`<td class="text">${one}</td>`);
  return html`<tr><th scope="row">${name}</th>${cells}</tr>\n`;
}

function timeText({ time }: CostModel): string {
  if (time.kind === 'slots') return "what each layer's slowest rank takes for its slots and exchanges";
  return time.kind === 'load'
    ? `${seconds(time.secondsPerLoad)} a token at each layer's busiest rank`
    : `its share of ${seconds(time.secondsAtBalance)} x mean PAR`;
}
