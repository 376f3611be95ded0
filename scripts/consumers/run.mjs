import { main } from './app.mjs';

main().then(console.log, (error) => {
  console.log(`${error.name} ${error.code}: ${error.message}`);
  process.exitCode = 1;
});
