// Imports the library and does nothing with it.
const start = performance.now();
await import('expert-load-balancer');
const end = performance.now();
process.stdout.write(JSON.stringify({ importMs: end - start, endMs: end }));
