import { join } from 'node:path';
import process from 'node:process';
import { blocksOf, pages } from '../../test/helpers/markdown.ts';
import { type App, type Consumer, ownVersion, ROOT, run } from './kit.ts';

/** The oldest compiler that is promised, and the last one of version 5; the project's own comes after. */
const OLD_COMPILERS = ['5.4.5', '5.9.3'];

const IMPORTS = ['', '/formats', '/replay', '/report']
  .map((part, i) => `export * as part${i} from 'expert-load-balancer${part}';\n`)
  .join('');

const COMPILER_OPTIONS = {
  module: 'nodenext',
  target: 'es2022',
  lib: ['es2022', 'esnext.disposable'],
  types: ['node'],
  strict: true,
  skipLibCheck: false,
  noEmit: true,
};

/** Writes all blocks of TypeScript in the README and in docs/, and an import of everything. */
function writeSources(app: App): void {
  const blocks = pages().flatMap((page) =>
    blocksOf(page)
      .filter(({ language }) => language === 'ts')
      .map(({ line, code }) => ({ name: `${page.path.replaceAll(/\W/g, '-')}-${line}.ts`, code })),
  );
  if (blocks.length === 0) throw new Error('no page has a block of TypeScript');
  for (const { name, code } of blocks) app.write(`types/${name}`, code);
  app.write('types/all.ts', IMPORTS);
  app.write('tsconfig.json', JSON.stringify({ compilerOptions: COMPILER_OPTIONS, include: ['types'] }));
}

function compile(app: App, compiler: string, project: string): void {
  run(process.execPath, [join(compiler, 'bin/tsc'), '-p', project], { cwd: app.folder });
}

const own = join(ROOT, 'node_modules/typescript');

export const TYPESCRIPT: readonly Consumer[] = [
  ...[...OLD_COMPILERS, undefined].map((version) => ({
    name: `TypeScript ${version ?? ownVersion('typescript')}, strict, libraries checked too`,
    packages: [
      `@types/node@${ownVersion('@types/node')}`,
      ...(version === undefined ? [] : [`typescript-${version}@npm:typescript@${version}`]),
    ],
    run: (app: App) => {
      writeSources(app);
      const old = app.path('node_modules', `typescript-${version}`);
      compile(app, version === undefined ? own : old, 'tsconfig.json');
    },
  })),
  {
    name: 'TypeScript without the types of Node, which it says that it needs',
    isAlone: true,
    run: (app) => {
      app.write('types/all.ts', IMPORTS);
      const compilerOptions = { ...COMPILER_OPTIONS, types: [] };
      app.write('tsconfig.json', JSON.stringify({ compilerOptions, files: ['types/all.ts'] }));
      let said = '';
      try {
        compile(app, own, 'tsconfig.json');
      } catch (error) {
        said = String(error);
      }
      const errors = said.split('\n').filter((line) => line.includes(': error TS'));
      const others = errors.filter((line) => !/'node:\w+'|'NodeJS'|'Buffer'|'URL'|'AbortSignal'/.test(line));
      if (errors.length === 0) throw new Error('it needs them no more: the README says so');
      if (others.length > 0) throw new Error(`it says other things too:\n${others.join('\n')}`);
    },
  },
];
