import assert from 'node:assert/strict';
import { basename } from 'node:path';
import { test } from 'node:test';
import { ExpertMapping } from 'expert-load-balancer';
import { placementFrom, validatePlacement } from 'expert-load-balancer/formats';
import { testPage } from '../helpers/doc-page.ts';
import { pages } from '../helpers/markdown.ts';

// The recipes of the engines: our own commands, on files as the engines write them.

const recipes = pages().filter(({ path }) => path.startsWith('docs/engines/'));

for (const page of recipes) testPage(page);

test('every engine that placements are judged for has a recipe', () => {
  const placement = placementFrom(ExpertMapping.fromPhysicalToLogical([[0]]));
  const judged = validatePlacement(placement).engines.map(({ engine }) => engine);
  assert.deepEqual(recipes.map(({ path }) => basename(path, '.md')).sort(), judged.sort());
});
