import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { ExpertMapping, planTransfer, type TransferPlan } from 'expert-load-balancer';
import { renderTransferReport } from 'expert-load-balancer/report';
import { chromiumForTests, skipWithoutChromium } from '../helpers/chromium.ts';
import { builtAssets } from '../helpers/report.ts';
import { badlyPlacedTexts, drawn, drawnLines, NARROW, WIDE, withPage } from '../helpers/report-page.ts';

const { style } = await builtAssets();
const browser = chromiumForTests();
const HOSTILE = '</script></style><img src=x onerror="document.title=1">';

/** Four ranks of two nodes, two slots each. Layer 1 has a round more than layer 0, and moves last. */
const PLAN = planTransfer(
  ExpertMapping.fromPhysicalToLogical([
    [0, 1, 2, 3, 4, 5, 6, 7],
    [0, 1, 2, 3, 4, 5, 6, 7],
  ]),
  ExpertMapping.fromPhysicalToLogical([
    [2, 1, 0, 3, 4, 5, 6, 7],
    [6, 7, 4, 5, 2, 3, 0, 1],
  ]),
  { numRanks: 4, numNodes: 2, cost: 'h200:deepseek-v3:bf16' },
);

/** What the page's charts are drawn from. */
function dataOf(page: string) {
  return JSON.parse(/<script type="application\/json" id="data"[^>]*>([^<]*)</.exec(page)![1]!);
}

/** Texts of a table's cells, row by row. */
function rowsOf(page: string, table: string): string[][] {
  const [, markup] = new RegExp(`<table class="${table}"[^>]*>(.*?)</table>`, 's').exec(page)!;
  return [...markup!.matchAll(/<tr>(.*?)<\/tr>/gs)].map(([, row]) =>
    [...row!.matchAll(/<t[hd][^>]*>([^<]*)</g)].map(([, text]) => text!),
  );
}

test('the page holds every transfer in its round, and the facts of the plan', async () => {
  const page = await renderTransferReport(PLAN, { from: 'dir/now.json', to: 'next.json', notes: ['so'] });
  assert.match(page, /<h1>Moving weights from now\.json to next\.json<\/h1>/);
  assert.match(page, /<p class="lead">10 transfers, 881 MB, in [\d.]+ ms by the link model: 3 rounds, which/);
  const data = dataOf(page);
  assert.deepEqual([data.numRanks, data.nodeStarts, data.links], [4, [0, 2], ['intraNode', 'interNode']]);
  const expected = PLAN.layers.map(({ layer, rounds, bounds }) => ({
    layer,
    bound: bounds.rounds,
    rounds: rounds.map((round) =>
      round.flatMap(({ sourceRank, targetRank, expert, link }) => [
        sourceRank,
        targetRank,
        expert,
        link === 'intraNode' ? 0 : 1,
      ]),
    ),
  }));
  assert.deepEqual(data.layers, expected);
  assert.deepEqual(
    data.layers.map(({ layer, rounds }: { layer: number; rounds: number[][] }) => [layer, rounds.length]),
    [
      [0, 1],
      [1, 2],
    ],
  );
  const facts = new Map(rowsOf(page, 'facts').map(([name, text]) => [name, text]));
  assert.equal(facts.get('from'), 'dir/now.json');
  assert.equal(facts.get('rounds'), '3; at least 3');
  assert.equal(facts.get('by intraNode'), '176 MB');
  assert.equal(facts.get('by interNode'), '705 MB');
  assert.match(facts.get('time')!, /in rounds, .* in batches; at least .*\(h200:deepseek-v3:bf16\)$/);
  assert.equal(facts.get('note'), 'so');
  const [heads, ...layers] = rowsOf(page, 'layers');
  assert.equal(heads!.at(-1), 'Time');
  assert.deepEqual(
    layers.map((row) => row.slice(0, 10)),
    [
      ['0', '1', '1', '1', '1', '2', '176 MB', '2', '0', '0'],
      ['1', '2', '2', '2', '2', '8', '705 MB', '8', '0', '0'],
    ],
  );
});

test('slots that get no expert are listed, and without a link model there are no times', async () => {
  const [from, to] = [[[0, 1]], [[1, 0]]].map((rows) => ExpertMapping.fromPhysicalToLogical(rows));
  const plan = planTransfer(from!, to!, { numRanks: 2, staging: 0, bytesPerExpert: 1e6 });
  const page = await renderTransferReport(plan);
  assert.match(page, /<h1>Moving weights<\/h1>/);
  assert.match(page, /Nothing crosses a link\./);
  assert.deepEqual(
    rowsOf(page, 'undone').slice(1),
    plan.layers[0]!.undone.map(({ targetRank, targetSlot, expert }) => [
      ...['0', String(targetRank), String(targetSlot), String(expert)],
      'it needs a staging slot',
    ]),
  );
  assert.equal(rowsOf(page, 'undone').length, 3);
  assert.equal(rowsOf(page, 'layers')[0]!.at(-1), 'Not done');
});

test('the page loads nothing and runs its own script alone, whatever names are', async () => {
  const linkClasses = Array.from({ length: 4 }, () => new Array<string>(4).fill(HOSTILE));
  const from = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 3]]);
  const to = ExpertMapping.fromPhysicalToLogical([[1, 0, 2, 3]]);
  const plan = planTransfer(from, to, { numRanks: 4, linkClasses });
  const page = await renderTransferReport(plan, { from: HOSTILE, to: HOSTILE, notes: [HOSTILE] });
  assert.match(page, /Content-Security-Policy" content="default-src &#39;none&#39;; script-src &#39;sha256-/);
  const markup = page.replace(style, '').replace(/<script>.*<\/script>/s, '');
  assert.doesNotMatch(markup, /<img|\s(src|style|on\w+)="/);
  assert.deepEqual(dataOf(page).links, [HOSTILE]);
});

test('what is not a plan or not an option is refused', async () => {
  const refused = async (code: string, message: RegExp, ...args: readonly unknown[]) =>
    assert.rejects(renderTransferReport(...(args as [TransferPlan])), { code, message });
  await refused('EPLB_KIND', /^plan: .* is not a TransferPlan; TransferPlan\.fromJSON/, PLAN.toJSON());
  await refused('EPLB_KIND', /^notes: "no" is not a list/, PLAN, { notes: 'no' });
  await refused('EPLB_KIND', /^notes\[1\]: 2/, PLAN, { notes: ['', 2] });
  await refused('EPLB_OPTION', /there is no option "form"; did you mean from\?/, PLAN, { form: 'a' });
});

test('charts show who sends to whom, follow the choice, are saved, and fit a narrow window', {
  skip: skipWithoutChromium,
}, async () => {
  const markup = await renderTransferReport(PLAN);
  await withPage(browser(), markup, { ...WIDE, colorScheme: 'light' }, async (open) => {
    const { page, complaints, requests } = open;
    const text = (id: string) => page.locator(`#${id}`).textContent();
    const lines = async (colour: string) => (await drawnLines(page, '#rounds', colour)).flat().length / 2;
    const saved = async (label: string) => {
      const [file] = await Promise.all([
        page.waitForEvent('download'),
        page.getByRole('button', { name: label, exact: true }).click(),
      ]);
      return readFile(await file.path());
    };
    await drawn(page);
    assert.equal(
      await text('sent-finding'),
      'In all layers rank 0 sends most, 3 experts (264 MB), and rank 0 receives most, 3 experts (264 MB)',
    );
    assert.equal(
      await text('rounds-finding'),
      'Layer 1, with as many rounds as any, makes 8 transfers in 2 rounds, which is the bound',
    );
    assert.deepEqual([await lines('--series-0'), await lines('--series-1')], [0, 8]);
    const csv = (await saved('sent: save the figures as CSV')).toString('utf8').split('\r\n');
    assert.equal(csv[1], `0,3,3,264241152,264241152,0,1,0,2`);
    assert.deepEqual([...(await saved('sent: save the picture as PNG')).subarray(1, 4)], [80, 78, 71]);

    await page.selectOption('#layer', { label: '0: 1 round' });
    await page.selectOption('#rank', '1');
    await drawn(page);
    assert.equal(await text('rounds-finding'), 'Layer 0 makes 2 transfers in 1 round, which is the bound');
    assert.deepEqual([await lines('--series-0'), await lines('--series-1')], [2, 0]);
    const rounds = (await saved('rounds: save the figures as CSV')).toString('utf8').split('\r\n');
    assert.deepEqual(
      rounds
        .slice(1, 3)
        .map((line) => line.split(',').slice(0, 6).join())
        .sort(),
      ['0,0,0,0,1,intraNode', '0,0,2,1,0,intraNode'],
    );

    await page.setViewportSize(NARROW.viewport);
    await page.emulateMedia({ colorScheme: 'dark' });
    await drawn(page);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
    assert.deepEqual(await badlyPlacedTexts(page), []);
    assert.deepEqual(complaints, []);
    assert.deepEqual(requests, ['/report.html']);
  });
});
