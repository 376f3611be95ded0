// Imports a module that has nothing in it: what any import takes.
const start = performance.now();
await import('./empty.mjs');
const end = performance.now();
process.stdout.write(JSON.stringify({ importMs: end - start, endMs: end }));
