import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { coresOf } from '../../src/engine/cores.ts';
import { inTempDir } from '../helpers/cli.ts';

/** What `coresOf` makes of these files, on a machine of 64 cores. */
function coresWith(files: Readonly<Record<string, string>>): Promise<number> {
  return inTempDir(async (root) => {
    for (const [name, text] of Object.entries(files)) {
      const path = join(root, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text);
    }
    return coresOf(root, 64);
  });
}

const CASES: readonly (readonly [title: string, files: Record<string, string>, cores: number])[] = [
  ['no control groups', {}, 64],
  ['v2, no quota', { 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': 'max 100000\n' }, 64],
  ['v2, a container', { 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': '400000 100000\n' }, 4],
  ['v2, part of a core', { 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': '50000 100000\n' }, 1],
  ['v2, cores and a half', { 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': '250000 100000\n' }, 2],
  [
    'v2, more than there are',
    { 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': '9900000 100000' },
    64,
  ],
  ['v2, broken', { 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': 'what\n' }, 64],
  [
    'v2, a group above has less',
    {
      'proc/self/cgroup': '0::/system.slice/host.service\n',
      'sys/fs/cgroup/system.slice/host.service/cpu.max': '800000 100000\n',
      'sys/fs/cgroup/system.slice/cpu.max': '300000 100000\n',
    },
    3,
  ],
  [
    'v1',
    {
      'proc/self/cgroup': '5:memory:/here\n4:cpu,cpuacct:/here\n0::/\n',
      'sys/fs/cgroup/cpu,cpuacct/here/cpu.cfs_quota_us': '600000\n',
      'sys/fs/cgroup/cpu,cpuacct/here/cpu.cfs_period_us': '100000\n',
      'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '-1\n',
      'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000\n',
    },
    6,
  ],
  [
    'v1, a group as the host names it, of which the container has the root',
    {
      'proc/self/cgroup': '4:cpu,cpuacct:/containers/abc\n',
      'sys/fs/cgroup/cpu/cpu.cfs_quota_us': '200000\n',
      'sys/fs/cgroup/cpu/cpu.cfs_period_us': '50000\n',
    },
    4,
  ],
  [
    'v1 that has no say of processor time',
    {
      'proc/self/cgroup': '4:cpuset:/\n',
      'sys/fs/cgroup/cpuset/cpu.cfs_quota_us': '100000\n',
      'sys/fs/cgroup/cpuset/cpu.cfs_period_us': '100000\n',
    },
    64,
  ],
];

for (const [title, files, cores] of CASES) {
  test(`cores that a process may use: ${title}`, async () => {
    assert.equal(await coresWith(files), cores);
  });
}
