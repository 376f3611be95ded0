import { readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Comment, type Node, type Program, parseSync, type Statement, Visitor } from 'oxc-parser';

// The API as text: every public name with its declaration, from the declarations that the build wrote.

const TYPES = fileURLToPath(new URL('../dist/types/', import.meta.url));

/** What the package exports, under these names in docs/api/, and from which declarations. */
export const ENTRY_POINTS: ReadonlyMap<string, string> = new Map([
  ['index', 'index.d.ts'],
  ['formats', 'formats/index.d.ts'],
  ['migration', 'migration/index.d.ts'],
  ['replay', 'replay/index.d.ts'],
  ['report', 'report/index.d.ts'],
  ['serve', 'serve/index.d.ts'],
]);

interface Module {
  readonly path: string;
  readonly text: string;
  readonly program: Program;
  readonly comments: readonly Comment[];
}

/** A name declared at the top of a module. */
interface Declared {
  readonly module: Module;
  readonly name: string;
  readonly node: Statement;
}

const modules = new Map<string, Module>();

function moduleAt(path: string): Module {
  const known = modules.get(path);
  if (known) return known;
  const text = readFileSync(path, 'utf8');
  const { program, comments, errors } = parseSync(path, text);
  if (errors.length > 0) throw new Error(`${path}: ${errors[0]!.message}`);
  const module = { path, text, program, comments };
  modules.set(path, module);
  return module;
}

/** The module that another one names, or undefined for a package. */
function moduleFrom(from: Module, source: string): Module | undefined {
  if (!source.startsWith('.')) return undefined;
  return moduleAt(join(dirname(from.path), source.replace(/\.[jt]s$/, '.d.ts')));
}

const nameOf = (node: { name: string } | { value: unknown }) =>
  'name' in node ? node.name : String(node.value);

/** The names that a statement declares, without what it only exports or imports. */
function namesOf(statement: Statement): string[] {
  const inner = statement.type === 'ExportNamedDeclaration' ? statement.declaration : statement;
  if (inner === null) return [];
  if (inner.type === 'VariableDeclaration') {
    return inner.declarations.flatMap(({ id }) => (id.type === 'Identifier' ? [id.name] : []));
  }
  return 'id' in inner && inner.id?.type === 'Identifier' ? [inner.id.name] : [];
}

/** Finds the declaration of a name that is in use in a module: its own, an imported one, or one passed on. */
function find(module: Module, name: string): Declared | undefined {
  for (const node of module.program.body) {
    if (namesOf(node).includes(name)) return { module, name, node };
    if (node.type === 'ImportDeclaration') {
      const specifier = node.specifiers.find(({ local }) => local.name === name);
      if (specifier?.type !== 'ImportSpecifier') continue;
      const from = moduleFrom(module, node.source.value);
      return from && find(from, nameOf(specifier.imported));
    }
    if (node.type === 'ExportNamedDeclaration' && node.source) {
      const specifier = node.specifiers.find(({ exported }) => nameOf(exported) === name);
      const from = specifier && moduleFrom(module, node.source.value);
      if (from) return find(from, nameOf(specifier.local));
    }
    if (node.type === 'ExportAllDeclaration') {
      const from = moduleFrom(module, node.source.value);
      const found = from && exportsOf(from).includes(name) ? find(from, name) : undefined;
      if (found) return found;
    }
  }
  return undefined;
}

/** The names that a module exports. */
function exportsOf(module: Module): string[] {
  return module.program.body.flatMap((node) => {
    if (node.type === 'ExportNamedDeclaration') {
      return [...namesOf(node), ...node.specifiers.map(({ exported }) => nameOf(exported))];
    }
    if (node.type !== 'ExportAllDeclaration') return [];
    const from = moduleFrom(module, node.source.value);
    return from ? exportsOf(from) : [];
  });
}

/** The text of a declaration: no comments, no private members, no empty lines. */
function textOf({ module, node }: Declared): string {
  const left: { start: number; end: number }[] = [...module.comments];
  const leavePrivate = (member: Node & { accessibility?: string | null; key: Node }) => {
    if (member.accessibility === 'private' || member.key.type === 'PrivateIdentifier') left.push(member);
  };
  new Visitor({ PropertyDefinition: leavePrivate, MethodDefinition: leavePrivate }).visit({
    ...module.program,
    body: [node],
  });
  let text = '';
  let at = node.start;
  for (const { start, end } of left.sort((a, b) => a.start - b.start)) {
    if (start < at || end > node.end) continue;
    text += module.text.slice(at, start);
    at = end;
  }
  text += module.text.slice(at, node.end);
  return text
    .replace(/^export (declare )?/, '')
    .split('\n')
    .map((line) => line.trimEnd())
    .filter((line) => line !== '')
    .join('\n');
}

/** What a declaration needs of its module's other names. */
function needsOf({ module, node, name }: Declared): Declared[] {
  const names = new Set<string>();
  new Visitor({ Identifier: (identifier) => void names.add(identifier.name) }).visit({
    ...module.program,
    body: [node],
  });
  names.delete(name);
  return [...names].flatMap((other) => find(module, other) ?? []);
}

/** The report of one entry point. */
export function apiReport(entry: string): string {
  const path = ENTRY_POINTS.get(entry);
  if (path === undefined) throw new RangeError(`there is no entry point ${entry}`);
  const module = moduleAt(join(TYPES, path));
  const keyOf = ({ module: { path: file }, name }: Declared) => `${relative(TYPES, file)} ${name}`;
  const found = exportsOf(module)
    .sort()
    .map((name) => {
      const declared = find(module, name);
      if (!declared) throw new Error(`${path} exports ${name}, which is declared nowhere`);
      return declared;
    });
  const isPublic = new Set(found.map(keyOf));
  const beside = new Map<string, Declared>();
  for (const queue = [...found]; queue.length > 0; ) {
    for (const needed of needsOf(queue.pop()!)) {
      const key = keyOf(needed);
      if (isPublic.has(key) || beside.has(key)) continue;
      beside.set(key, needed);
      queue.push(needed);
    }
  }
  const others = [...beside.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, declared]) => declared);
  const parts = [`Exported: ${found.length}`, ...found.map(textOf)];
  if (others.length > 0)
    parts.push(`Not exported here, but used above: ${others.length}`, ...others.map(textOf));
  return `${parts.join('\n\n')}\n`;
}
