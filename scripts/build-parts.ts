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
    modules:
      /^src\/(transfer\/(?!plan\.ts|plan-json\.ts)|cost\/transfer-seconds\.ts|balancer\/apply-transfer\.ts)/,
    fronts: {
      'src/balancer/apply-transfer.ts': ['applyTransfer', 'checkTransferOptions', 'makeTransfer'],
      'src/transfer/check-transfer.ts': ['checkTransfer'],
      'src/transfer/move-timer.ts': ['makeMoveTimer'],
      'src/transfer/options.ts': ['readTransferOptions', 'transferOptionNames'],
      'src/transfer/plan-bytes.ts': ['decodePlan', 'encodePlan'],
      'src/transfer/plan-transfer.ts': ['planTransfer'],
      'src/transfer/read-plan.ts': ['readPlan'],
      'src/transfer/rearrange.ts': ['rearrangeExpertWeights'],
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
      /^src\/(policy\/(repair|survive)\/|core\/failure-domains\.|balancer\/(topology-change|shadow)\.|loads\/fold-|mapping\/(relay|ranks|mapping-of)-)/,
    fronts: {
      'src/core/failure-domains.ts': ['domainsOfRanks'],
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
    modules: /^src\/(core\/(rank-options|rules|rule-book)|mapping\/ruled-slots|policy\/broken-rules)\.ts/,
    fronts: {
      'src/core/rank-options.ts': [
        'checkDeadRanks',
        'checkFailureDomains',
        'checkGivenNodes',
        'checkLinkClasses',
        'checkOpenSlots',
        'checkRankSpeed',
        'checkSlotsPerRank',
        'checkSpeed',
      ],
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
    modules: /^src\/(share\/(?!comlink\.ts)|mapping\/published-mapping\.ts)/,
    fronts: {
      'src/mapping/published-mapping.ts': ['makePublished'],
      'src/share/connect.ts': ['connectBalancer'],
      'src/share/host.ts': ['shareBalancer'],
    },
  },
];

/** Of modules of the library, by path, the names that parts import from there. */
type Needs = ReadonlyMap<string, ReadonlySet<string>>;

const fromRoot = (path: string) => relative(process.cwd(), path);

/** The parts as they are built. */
interface BuiltParts {
  /** Has the library load them. */
  readonly plugin: Plugin;
  readonly outputs: Metafile['outputs'];
}

/** Builds the parts, as `dist/NAME.cjs`. */
export async function buildParts(common: BuildOptions): Promise<BuiltParts> {
  await mkdir('dist', { recursive: true });
  const built = await Promise.all(PARTS.map((part) => buildPart(part, common)));
  const needs = needsOf(await Promise.all(PARTS.map(({ name }) => readFile(`dist/${name}.cjs`, 'utf8'))));
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
        onResolve({ filter: /^all-parts$/ }, ({ path }) => ({ path, namespace: 'all-parts' }));
        onLoad({ filter: /./, namespace: 'all-parts' }, () => ({
          contents: allPartsText(),
          resolveDir: process.cwd(),
        }));
        onLoad({ filter: /./, namespace: 'part' }, ({ path }) => ({
          contents: loaderText(path),
          resolveDir: process.cwd(),
        }));
        onResolve({ filter: /^for-parts$/ }, ({ path }) => ({ path, namespace: 'for-parts' }));
        onLoad({ filter: /./, namespace: 'for-parts' }, () => ({
          contents: libraryText(needs),
          resolveDir: process.cwd(),
        }));
        onResolve({ filter: /^\.\/\w+\.cjs$/ }, ({ path }) => ({ path, external: true }));
      },
    },
  };
}

/**
 * Writes what bundlers find by the condition `module` of an export in package.json, `dist/bundled/NAME.js`:
 * the same with all parts, which have to be in a bundle. Node does not read it, and looks nothing up for it.
 */
export async function writeBundled(names: readonly string[]): Promise<void> {
  await mkdir('dist/bundled', { recursive: true });
  const write = (name: string) =>
    writeFile(`dist/bundled/${name}.js`, `import"../parts.js";export*from"../${name}.js";\n`);
  await Promise.all(names.map(write));
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
      onResolve({ filter: /^\.{1,2}\/.*\.ts$/ }, ({ path, resolveDir }) => {
        const module = fromRoot(resolve(resolveDir, path));
        return part.modules.test(module) ? null : { path: module, external: true };
      });
    },
  };
}

/** The modules that built parts get by `require`, and the names that they take from each. */
function needsOf(texts: readonly string[]): Needs {
  const needs = new Map<string, Set<string>>();
  for (const text of texts) {
    for (const [, variable, module] of text.matchAll(/(\w+)\s*=\s*require\("([^"]+)"\)/g)) {
      const names = needs.get(module!) ?? new Set();
      for (const [, name] of text.matchAll(new RegExp(`\\b${variable}\\.(\\w+)`, 'g'))) names.add(name!);
      needs.set(module!, names);
    }
  }
  return needs;
}

function frontText({ name }: Part, functions: readonly string[]): string {
  const forward = (one: string) =>
    `export function ${one}(...args) { return ${name}Code().${one}(...args); }`;
  return [`import { ${name}Code } from 'part:${name}';`, ...functions.map(forward)].join('\n');
}

/** Hands all parts to the library, where a bundler has put them beside it. */
function allPartsText(): string {
  const names = PARTS.map(({ name }) => `${name}Part`);
  return [
    `import { bundleParts } from './src/core/load-part.ts';`,
    ...PARTS.map(({ name }) => `import ${name}Part from './${name}.cjs';`),
    `bundleParts({ ${names} });`,
  ].join('\n');
}

/** What is loaded of it is kept: a part is there once, as the modules of the library are. */
function loaderText(name: string): string {
  return [
    `import { loadPart } from './src/core/load-part.ts';`,
    `import { library } from 'for-parts';`,
    `let loaded;`,
    `export const ${name}Code = () => (loaded ??= loadPart('${name}', library()));`,
  ].join('\n');
}

/**
 * What parts get of the library: one object for all, whatever module it is of. It is made by a function with
 * a body in braces: what an arrow without them returns is parsed whole at the import, the rest is passed
 * over.
 */
function libraryText(needs: Needs): string {
  return [
    ...[...needs].map(([module, names]) => `import { ${[...names]} } from './${module}';`),
    `export function library() {`,
    `  return { ${[...needs.values()].flatMap((names) => [...names])} };`,
    `}`,
  ].join('\n');
}
