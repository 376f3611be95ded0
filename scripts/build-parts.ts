/**
 * Parts of the library that an import of it does not read. Reading code is what an import takes its time for,
 * and most hosts never call these. A part is called synchronously, which a module of its own could not be:
 * Node 20 loads no ES module in the midst of a call. So each is a file in CommonJS that gets what it needs of
 * the library when it is loaded.
 *
 * In the library the **fronts** of a part stand for it: functions that load it and pass the call on.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { relative, resolve } from 'node:path';
import process from 'node:process';
import { type BuildOptions, build, type Metafile, type Plugin } from 'esbuild';

interface Part {
  readonly name: string;
  /** Its modules: paths from the root that match. */
  readonly modules: RegExp;
  /** Of its modules those that the library may import, and the functions to import from there. */
  readonly fronts: Readonly<Record<string, readonly string[]>>;
}

const PARTS: readonly Part[] = [
  {
    name: 'transfer',
    modules: /^src\/(transfer\/(?!plan\.ts|plan-json\.ts|rearrange\.ts)|cost\/transfer-seconds\.ts)/,
    fronts: {
      'src/transfer/check-transfer.ts': ['checkTransfer'],
      'src/transfer/layer-copies.ts': ['copiesOfLayers'],
      'src/transfer/move-timer.ts': ['makeMoveTimer'],
      'src/transfer/options.ts': ['readTransferOptions', 'transferOptionNames'],
      'src/transfer/plan-bytes.ts': ['decodePlan', 'encodePlan'],
      'src/transfer/plan-transfer.ts': ['planTransfer'],
      'src/transfer/rank-weights.ts': ['readWeights'],
      'src/transfer/read-plan.ts': ['readPlan'],
    },
  },
  {
    name: 'adaptive',
    modules:
      /^src\/(policy\/adaptive\/(?!policy\.ts)|loads\/(sample-buckets|sample-memory|load-samples)\.ts)/,
    fronts: {
      'src/loads/load-samples.ts': ['checkSamples', 'oneSample', 'writeSamples'],
      'src/loads/sample-memory.ts': ['carveSamples', 'makeSampleMemory'],
      'src/policy/adaptive/judgement.ts': ['judge'],
      'src/policy/adaptive/kernel.ts': ['adaptiveKernel'],
      'src/policy/adaptive/locality-options.ts': ['localityOptions'],
      'src/policy/adaptive/options.ts': ['readAdaptiveOptions'],
      'src/policy/adaptive/slot-costs.ts': ['slotSecondsOf'],
    },
  },
  {
    name: 'cost',
    modules: /^src\/cost\/(cost-json|devices|exchange|fields|layer-costs|layer-timer|presets|slot-curve)\.ts/,
    fronts: {
      'src/cost/cost-json.ts': ['readCostFields'],
      'src/cost/exchange.ts': ['evenExchange', 'evenSecondsPerToken', 'exchangeByLink', 'exchangeOf'],
      'src/cost/fields.ts': ['checkWithin'],
      'src/cost/slot-curve.ts': ['makeSlotCurve'],
      'src/cost/layer-costs.ts': ['layerCosts', 'makeCostTally', 'summarizeCost'],
      'src/cost/layer-timer.ts': ['makeLayerTimer'],
      'src/cost/presets.ts': ['costModelPreset', 'costPresetNames'],
    },
  },
  {
    name: 'dispatch',
    modules:
      /^src\/(cost\/((least|nearest)-exchange|traffic)|loads\/(slot|source)-loads|mapping\/(copy|slot)-shares)\.ts/,
    fronts: {
      'src/cost/nearest-exchange.ts': ['makeNearestExchange', 'secondsBetween', 'slotDispatchOf'],
      'src/cost/traffic.ts': ['loadTraffic', 'routeTraffic', 'trafficOf'],
      'src/loads/slot-loads.ts': ['dispatchLoads', 'readNodes', 'slotLoads'],
      'src/loads/source-loads.ts': ['isBySource'],
      'src/mapping/copy-shares.ts': ['makeCopyShares'],
      'src/mapping/slot-shares.ts': ['makeSlotShares'],
    },
  },
  {
    name: 'custom',
    modules: /^src\/policy\/custom\.ts/,
    fronts: { 'src/policy/custom.ts': ['askPolicy', 'loadPolicy', 'runCustomPolicy'] },
  },
  {
    name: 'repair',
    modules:
      /^src\/(policy\/(repair|survive)\/|balancer\/(topology-change|shadow)\.|loads\/fold-|mapping\/(relay|ranks|mapping-of)-)/,
    fronts: {
      'src/balancer/shadow.ts': ['makeShadow'],
      'src/balancer/topology-change.ts': ['changedTopology'],
      'src/loads/fold-content.ts': ['contentOfExperts'],
      'src/mapping/mapping-of-slots.ts': ['mappingOfSlots'],
      'src/mapping/ranks-to-retire.ts': ['ranksToRetire'],
      'src/mapping/relay-ranks.ts': ['rankLayoutOf', 'relayRanks'],
      'src/policy/repair/repair.ts': ['repair', 'repairSlots'],
      'src/policy/survive/bound.ts': ['heaviestExperts', 'mostSurvivors'],
      'src/policy/survive/ruled-survivors.ts': ['ruledSurvivors'],
      'src/policy/survive/survival.ts': ['survival'],
    },
  },
  {
    name: 'rules',
    modules: /^src\/(core\/(rules|rule-book)|mapping\/ruled-slots|policy\/broken-rules)\.ts/,
    fronts: {
      'src/core/rules.ts': [
        'checkRules',
        'rulesOnMoreRanks',
        'rulesWithin',
        'sharedLoads',
        'slotsToTake',
        'takeSlots',
        'withTakenSlots',
      ],
      'src/core/rule-book.ts': ['brokenInLayer', 'checkFeasible', 'ruleBookOf', 'rulesWithout', 'sayBroken'],
      'src/mapping/ruled-slots.ts': ['ruledSlots'],
      'src/policy/broken-rules.ts': ['brokenInTable', 'brokenRules'],
    },
  },
  {
    name: 'tables',
    modules: /^src\/mapping\/read-tables\.ts/,
    fronts: { 'src/mapping/read-tables.ts': ['readTables'] },
  },
  {
    name: 'measures',
    modules: /^src\/(policy\/compute|loads\/balancedness)\.ts/,
    fronts: {
      'src/loads/balancedness.ts': ['balancedness', 'layerBalances', 'peakToAverage', 'summarizeBalance'],
      'src/policy/compute.ts': ['computeBalancedPacking', 'computeExpertReplication', 'computeLoadImbalance'],
    },
  },
  {
    name: 'snapshot',
    modules: /^src\/((balancer|mapping)\/snapshot|loads\/refill-window)\.ts/,
    fronts: {
      'src/balancer/snapshot.ts': ['decodeSnapshot', 'encodeSnapshot'],
      'src/mapping/snapshot.ts': ['decodeTable', 'digestTable', 'encodeTable', 'sha256'],
      'src/loads/refill-window.ts': ['refill'],
    },
  },
  {
    name: 'watch',
    modules: /^src\/watch\//,
    fronts: {
      'src/watch/group-watch.ts': ['metricsText', 'watchGroup'],
      'src/watch/observe.ts': ['observeBalancer', 'openMetrics'],
      'src/watch/window-figures.ts': ['imbalanceSeconds', 'windowFigures'],
    },
  },
  {
    name: 'share',
    modules: /^src\/share\/(?!comlink\.ts)/,
    fronts: {
      'src/share/connect.ts': ['connectBalancer'],
      'src/share/host.ts': ['shareBalancer'],
    },
  },
];

/** Of modules of the library, by path, the names that a part imports from there. */
type Needs = ReadonlyMap<string, ReadonlySet<string>>;

const fromRoot = (path: string) => relative(process.cwd(), path);

/** The parts as they are built. */
interface BuiltParts {
  /** Has the library load them. */
  readonly plugin: Plugin;
  readonly outputs: Metafile['outputs'];
}

/**
 * Builds the parts, as `dist/NAME.cjs`, and what `#parts` is by package.json: to bundlers `dist/parts.js`, by
 * which they find them; elsewhere the library itself, which has none of the names and is no further file. A
 * module of Node would be found sooner, but not by jest.
 */
export async function buildParts(common: BuildOptions): Promise<BuiltParts> {
  await mkdir('dist', { recursive: true });
  await writeFile('dist/parts.js', bundledText());
  const built = await Promise.all(PARTS.map((part) => buildPart(part, common)));
  const needs = await Promise.all(
    PARTS.map(async ({ name }) => needsOf(await readFile(`dist/${name}.cjs`, 'utf8'))),
  );
  return {
    outputs: Object.assign({}, ...built),
    plugin: {
      name: 'parts',
      setup({ onLoad, onResolve }) {
        onResolve({ filter: /^\.{1,2}\/.*\.ts$/ }, ({ path, resolveDir, importer }) => {
          const module = fromRoot(resolve(resolveDir, path));
          const part = PARTS.find(({ modules }) => modules.test(module));
          if (part === undefined) return null;
          const functions = part.fronts[module];
          if (functions === undefined)
            throw new Error(`${importer} imports ${module}, which is loaded later and no front`);
          // Not by the module's own path: reports of coverage would count it twice.
          return { path: `for ${module}`, namespace: 'front', pluginData: frontText(part, functions) };
        });
        onLoad({ filter: /./, namespace: 'front' }, ({ pluginData: contents }) => ({ contents }));
        onResolve({ filter: /^part:/ }, ({ path }) => ({
          path: path.slice('part:'.length),
          namespace: 'part',
        }));
        onResolve({ filter: /^bundled-parts$/ }, ({ path }) => ({ path, namespace: 'bundled' }));
        onLoad({ filter: /./, namespace: 'bundled' }, () => ({
          contents: `export * as bundled from '#parts';`,
        }));
        onLoad({ filter: /./, namespace: 'part' }, ({ path }) => {
          const contents = loaderText(path, needs[PARTS.findIndex(({ name }) => name === path)]!);
          return { contents, resolveDir: process.cwd() };
        });
        onResolve({ filter: /^#/ }, ({ path }) => ({ path, external: true }));
      },
    },
  };
}

async function buildPart(part: Part, common: BuildOptions): Promise<Metafile['outputs']> {
  const fronts = Object.entries(part.fronts);
  const { metafile } = await build({
    ...common,
    stdin: {
      contents: fronts.map(([module, names]) => `export { ${names} } from './${module}';`).join('\n'),
      resolveDir: process.cwd(),
      sourcefile: part.name,
    },
    entryNames: part.name,
    outExtension: { '.js': '.cjs' },
    format: 'cjs',
    banner: { js: '"use strict";module.exports=require=>{const module={};' },
    footer: { js: 'return module.exports};' },
    plugins: [takenFromLibrary(part)],
    metafile: true,
  });
  return metafile.outputs;
}

function takenFromLibrary(part: Part): Plugin {
  return {
    name: 'taken-from-library',
    setup({ onResolve }) {
      onResolve({ filter: /^\.{1,2}\// }, ({ path, resolveDir }) => {
        const module = fromRoot(resolve(resolveDir, path));
        return part.modules.test(module) ? null : { path: module, external: true };
      });
    },
  };
}

/** The names that `require` gives a built part, and what it takes from each. */
function needsOf(text: string): Needs {
  const needs = new Map<string, Set<string>>();
  for (const [, variable, module] of text.matchAll(/(\w+)\s*=\s*require\("([^"]+)"\)/g)) {
    const names = needs.get(module!) ?? new Set();
    for (const [, name] of text.matchAll(new RegExp(`\\b${variable}\\.(\\w+)`, 'g'))) names.add(name!);
    needs.set(module!, names);
  }
  return needs;
}

function frontText({ name }: Part, functions: readonly string[]): string {
  const forward = (one: string) =>
    `export function ${one}(...args) { return ${name}Code().${one}(...args); }`;
  return [`import { ${name}Code } from 'part:${name}';`, ...functions.map(forward)].join('\n');
}

/** All parts, for bundlers to put into a bundle. */
function bundledText(): string {
  return PARTS.map(({ name }) => `export { default as ${name}Part } from './${name}.cjs';\n`).join('');
}

/**
 * What is loaded of it is kept: a part is there once, as the modules of the library are. What it gets is in a
 * function with a body in braces: what an arrow without them returns is parsed whole at the import, the rest
 * is passed over.
 */
function loaderText(name: string, needs: Needs): string {
  const modules = [...needs].map(([module, names]) => ({ module, names: [...names].sort().join(', ') }));
  return [
    `import { bundled } from 'bundled-parts';`,
    `import { loadPart } from './src/core/load-part.ts';`,
    ...modules.map(({ module, names }) => `import { ${names} } from './${module}';`),
    `function library() {`,
    `  return {`,
    ...modules.map(({ module, names }) => `    '${module}': { ${names} },`),
    `  };`,
    `}`,
    `let loaded;`,
    `export const ${name}Code = () => (loaded ??= loadPart('${name}', bundled, library()));`,
  ].join('\n');
}
