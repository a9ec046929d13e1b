/** Help that teaches: what to type, in the order in which one needs it. */

export const shortHelp =
  'Disaster recovery for XenServer and XCP-ng: saves the metadata of VMs, checks that a failover would work, and carries it out.';

const byTopic: Readonly<Record<string, readonly (readonly [command: string, says: string])[]>> = {
  lifeboat: [
    ['lifeboat lab up', 'start the two-site lab that sites.yaml describes'],
    ['lifeboat status', 'how every group stands'],
    ['lifeboat export shop', 'save a recovery point of group shop'],
    ['lifeboat plan failover shop', 'what a failover would do, and what would be lost'],
    ['lifeboat drill shop', 'prove it, without touching production'],
    ['lifeboat failover shop', 'do it, after one typed confirmation'],
  ],
  init: [
    ['lifeboat init', 'asks for everything'],
    [
      'lifeboat init --production https://prod-1.example --recovery https://dr-1.example --arrays arrays.yaml',
      'with the arrays, so that the groups are complete',
    ],
  ],
  validate: [
    ['lifeboat validate', 'sites.yaml of this directory, and the recovery plans it names'],
    ['lifeboat --config /etc/lifeboat/sites.yaml validate', 'another one'],
  ],
  status: [
    ['lifeboat status', 'every group'],
    ['lifeboat status shop --json | jq .groups[0].lossSeconds', 'one figure, for a monitor'],
  ],
  check: [
    ['lifeboat check', 'every operation of every group'],
    ['lifeboat check shop || mail -s "shop is not ready" oncall', 'exit code 10 when something blocks'],
  ],
  array: [
    [
      'lifeboat array test array-recovery',
      'identity, capabilities, volumes and points, as the array tells them',
    ],
  ],
  schedule: [
    ['lifeboat schedule', 'next and last turn of every job'],
    ['lifeboat schedule shop --turns', 'what was done for one group, and what came of it'],
  ],
  daemon: [
    ['lifeboat --config /etc/lifeboat/sites.yaml daemon', 'as packaging/lifeboat.service calls it'],
    ['kill -HUP PID', 'read the configuration again; a change of the file does the same'],
  ],
  rehearse: [
    [
      'lifeboat rehearse',
      'log in, decrypt, read and plan everything that a failover needs, without production',
    ],
    ['lifeboat rehearse || mail -s "no failover possible" oncall', 'exit code 10 when it would not work'],
  ],
  doctor: [
    ['lifeboat doctor', 'before the first export, and after an upgrade of a pool or an array'],
    ['lifeboat doctor --json | jq .sections[].about', 'for other programs'],
  ],
  drift: [
    ['lifeboat drift', 'in what the sites do not fit together, since when, and which VMs that touches'],
    [
      'lifeboat drift accept mtu-4f1c2a --until 2027-03-31 --by "head of network" --reason "new switches in March"',
      'it no longer counts against the group until then',
    ],
  ],
  notify: [
    ['lifeboat notify test', 'send a notice through every channel'],
    ['lifeboat notify test oncall', 'through one'],
  ],
  completion: [
    [
      'lifeboat completion bash > /etc/bash_completion.d/lifeboat',
      'names of groups, arrays, sites and runs included',
    ],
    ['source <(lifeboat completion zsh)', 'for this shell alone'],
  ],
  runbook: [
    ['lifeboat runbook shop', 'the plans of today, as text'],
    ['lifeboat runbook shop shop.html', 'one page, to be printed'],
  ],
  bundle: [
    ['lifeboat bundle /media/usb/lifeboat', 'everything that a rescue needs, for a safe place'],
    ['lifeboat bundle /media/usb/shop shop', 'of one group'],
  ],
  export: [
    ['lifeboat export', 'every group, one after the other'],
    ['lifeboat export shop --everything', 'fetch also what did not change since the last point'],
    ['lifeboat export shop --preview', 'who would be saved, by which rule, and whom nobody protects'],
  ],
  verify: [
    ['lifeboat verify', 'every group: replication, catalog, sites, and whether a failover would work'],
    ['lifeboat verify shop --sync', 'have a new point sent first'],
    ['lifeboat verify shop --canary', 'measure the true lag, from a write at the source to the replica'],
    ['lifeboat verify shop || mail -s "shop is at risk" oncall', 'exit code 1 when a promise is broken'],
  ],
  plan: [
    ['lifeboat plan failover shop', 'as a runbook'],
    ['lifeboat plan failover shop --full', 'every step by itself, with its limits'],
    [
      'lifeboat plan failover shop --json > plan.json',
      'to be reviewed, and then run: lifeboat run plan.json',
    ],
  ],
  failover: [
    ['lifeboat failover shop', 'shows the plan, asks for the name of the recovery site, does it'],
    ['lifeboat failover shop --yes recovery', 'the same from a script'],
    ['lifeboat failover payroll shop', 'two groups, one after the other'],
    ['lifeboat failover shop --vm db-01 --vm db-02', 'the others are imported and stay halted'],
    [
      'lifeboat failover shop --declare-lost "fire, the power is cut"',
      'although something still answers there: it is stopped and blocked first',
    ],
    ['lifeboat run resume latest', 'go on after a crash or Ctrl-C: nothing is done twice'],
  ],
  drill: [
    ['lifeboat drill shop', 'shows the plan, asks for the name of the recovery site, does it, cleans up'],
    ['lifeboat drill shop --vm db-01 --vm web-01', 'only these VMs'],
    ['lifeboat drill shop --keep', 'let the copies stand, to look at them'],
    ['lifeboat drill cleanup shop', 'remove them; also after a crash'],
    ['lifeboat run report latest drill.html', 'the evidence, for the files'],
  ],
  migrate: [
    ['lifeboat plan migrate shop', 'the plan first: who stops when, and where the way back ends'],
    ['lifeboat migrate shop', 'shows the plan, asks for the name of the site it moves to, does it'],
    ['lifeboat run undo latest --reason "…"', 'before the promotion: everything back as it was'],
  ],
  failback: [
    ['lifeboat failback shop', 'the way home, by the same steps as a migration'],
    ['lifeboat failback shop --yes production', 'the same from a script'],
  ],
  reprotect: [
    ['lifeboat plan reprotect shop', 'what the site that is back alone holds, and what becomes of it'],
    ['lifeboat reprotect shop', 'when the old site holds nothing that the other one does not'],
    [
      'lifeboat reprotect shop --discard-changes "orders since 2:10 are in the paper log"',
      'give up what the old site wrote after its last point',
    ],
  ],
  quarantine: [
    ['lifeboat quarantine shop', 'the first thing to do when a lost site answers again'],
    ['lifeboat quarantine shop --stop-old "HA started them"', 'its copies run: stop them too'],
  ],
  run: [
    ['lifeboat run list', 'what ran'],
    ['lifeboat run follow latest', 'watch it from another terminal'],
    ['lifeboat run resume latest', 'go on'],
    [
      'lifeboat run resume latest --retry STEP --reason "cable is back"',
      'answer the question of a stuck run',
    ],
    ['lifeboat run stop latest --reason "the site is back"', 'from another terminal'],
    [
      'lifeboat run answer latest STEP yes',
      'answer what the recovery plan asks on the way; `run show` names the step',
    ],
    ['lifeboat run undo latest --reason "wrong group"', 'while no point of no return was passed'],
    ['lifeboat run plan.json', 'exactly the plan that was reviewed'],
    ['lifeboat run report latest failover.html', 'one page for the files'],
  ],
  freeze: [
    [
      'lifeboat freeze shop --reason "works on the filer until Friday"',
      'automatic work leaves it alone; by hand everything is possible',
    ],
    ['lifeboat unfreeze shop --reason "works are over"', 'automatic work takes it up again'],
    ['lifeboat audit shop', 'who did so, when and why'],
  ],
  catalog: [
    ['lifeboat catalog list shop', 'recovery points of group shop'],
    ['lifeboat catalog verify', 'read everything back'],
    ['lifeboat catalog diff shop/20260131T0200-1a2b shop/latest', 'what changed since'],
    ['lifeboat catalog extract shop/latest web-01 --to /tmp', 'for an import by hand'],
    ['lifeboat catalog recover shop --list', 'what travelled with the replicated storage'],
    ['lifeboat catalog extract shop/latest --script --to /media/usb/shop', 'for a site without Lifeboat'],
    ['lifeboat catalog import shop /mnt/pool-backup', 'a recovery point from what other tools saved'],
    ['lifeboat catalog prune shop --dry-run', 'what retention would let go'],
  ],
  secret: [
    ['lifeboat secret set production', 'type it unseen'],
    ['pass show production | lifeboat secret set production', 'pipe it in'],
    ['lifeboat secret list', 'names only'],
  ],
};

export function examples(topic: keyof typeof byTopic): string {
  const list = byTopic[topic] ?? [];
  return ['Examples:', ...list.flatMap(([command, says]) => [`  ${command}`, `      ${says}`])].join('\n');
}

export const exitCodeHelp = `Exit codes:
  0 done   1 failed   2 usage or configuration   3 done with warnings   10 blocked by checks
  11 another run holds the group   12 stuck: a person must answer   130 stopped

Every error ends with a code such as [DR-POOL-PASSWORD]; runbooks/ says what each means and what to do.`;
