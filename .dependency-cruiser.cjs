/**
 * The import table of the design, as rules. `domain` knows nothing; the planners are pure; adapters and the lab
 * never see the planners; only src/main.ts introduces adapters to the application.
 */
const layers = {
  domain: [],
  metadata: ['domain'],
  ports: ['domain', 'metadata'],
  config: ['domain'],
  schedule: ['domain'],
  report: ['domain'],
  plan: ['domain', 'metadata'],
  check: ['domain', 'metadata'],
  watch: ['domain', 'check'],
  observe: ['domain', 'metadata', 'ports'],
  execute: ['domain', 'metadata', 'ports'],
  app: ['domain', 'metadata', 'config', 'ports', 'observe', 'plan', 'check', 'execute', 'schedule', 'watch', 'report'],
  adapters: ['domain', 'metadata', 'ports'],
  lab: ['domain', 'metadata', 'ports'],
  faces: ['domain', 'report', 'app'],
};

const rules = Object.entries(layers).map(([layer, allowed]) => ({
  name: `${layer}-imports`,
  comment: `src/${layer} may import ${allowed.length ? allowed.join(', ') : 'nothing of ours'}.`,
  severity: 'error',
  from: { path: `^src/${layer}/` },
  to: { path: '^src/', pathNot: [`^src/(${[layer, ...allowed].join('|')})/`] },
}));

const pure = '^src/(domain|metadata|config|plan|check|schedule|watch|report)/';

module.exports = {
  forbidden: [
    ...rules,
    {
      name: 'pure-folders-do-no-io',
      comment: 'Planners, checks, schedules, the watch, reports and the metadata document are pure: no sockets, no files, no processes.',
      severity: 'error',
      from: { path: pure },
      to: {
        dependencyTypes: ['core'],
        path: '^(node:)?(fs|fs/promises|net|tls|http|https|http2|dgram|child_process|worker_threads|cluster|os|timers|timers/promises)$',
      },
    },
    {
      name: 'no-cycles',
      comment: 'A cycle means that two files tell one story, or that one of them tells two.',
      severity: 'error',
      from: { path: '^src/' },
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'product-does-not-import-tests',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(test|tools)/' },
    },
    { name: 'no-unresolved', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'no-dev-dependencies-in-product',
      severity: 'error',
      from: { path: '^src/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'], pathNot: '^node_modules/@types/' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'types', 'default'] },
  },
};
