/**
 * A shell script that does with `xe` alone what a failover does, for a site that has the files of a recovery point and no
 * Lifeboat. Every name is quoted; what only the site knows (the address of the replica, passwords) stands in variables at
 * the top or is asked for, and nothing is done that was done before.
 */
import { formatInstant } from './words.ts';

export interface XeRecovery {
  readonly group: string;
  readonly pointId: string;
  readonly takenAt: string;
  readonly site: string;
  /** In the order in which they are imported. */
  readonly files: readonly { readonly file: string; readonly uuid: string; readonly nameLabel: string }[];
  /** Networks of the recovery pool that the documents name. */
  readonly networks: readonly string[];
  readonly srs: readonly XeSr[];
  readonly tiers: readonly {
    readonly name: string;
    readonly vms: readonly { readonly uuid: string; readonly nameLabel: string }[];
    readonly delaySeconds: number;
  }[];
  readonly appliances: readonly {
    readonly nameLabel: string;
    readonly nameDescription: string;
    readonly vmUuids: readonly string[];
  }[];
  /** Restart priorities of VMs that HA protected. */
  readonly protectedByHa: readonly { readonly uuid: string; readonly priority: string }[];
}

export interface XeSr {
  readonly uuid: string;
  readonly nameLabel: string;
  readonly nameDescription: string;
  readonly type: string;
  readonly contentType: string;
  readonly shared: boolean;
  /** Of device_config what says how the storage is used, as at production, without passwords. */
  readonly options: Readonly<Record<string, string>>;
  /** Keys that say where it is: left empty, so that nobody attaches production's storage by mistake. */
  readonly places: readonly { readonly key: string; readonly atProduction: string | null }[];
  /** Keys of passwords, such as `chappassword`: asked for, and never written here. */
  readonly secretKeys: readonly string[];
  /** Which volume of which array carries it at the recovery site; null when the settings do not say. */
  readonly volume: string | null;
  readonly vdis: readonly {
    readonly uuid: string;
    readonly nameLabel: string;
    readonly nameDescription: string;
  }[];
}

/** A word of the shell that stands for exactly this text, whatever it holds. */
export function shellWord(text: string): string {
  return `'${text.replaceAll('\0', '').replaceAll("'", "'\\''")}'`;
}

/** A text in a comment ends with its line. */
function comment(text: string): string {
  return `# ${text.replace(/[^\P{C}]+/gu, ' ')}`;
}

/** `xe` with these arguments, each a word of its own. */
function call(verb: string, ...args: readonly string[]): string {
  return [verb, ...args.map(shellWord)].join(' ');
}

export function xeScript(recovery: XeRecovery): string {
  const { srs } = recovery;
  return `${[
    ...head(recovery),
    ...srs.flatMap(variables),
    helpers,
    '',
    ...part(
      'check',
      recovery.networks.map((name) => call('need_network', name)),
    ),
    ...part('storage', srs.flatMap(attach)),
    ...part('import', [
      ...recovery.files.map(({ file, uuid, nameLabel }) => call('import_vm', file, uuid, nameLabel)),
      ...recovery.appliances.flatMap(({ nameLabel, nameDescription, vmUuids }) => [
        call('make_appliance', nameLabel, nameDescription, ...vmUuids),
      ]),
    ]),
    ...part('start', [
      ...recovery.tiers.flatMap(({ name, vms, delaySeconds }, index) => [
        ...(index === 0 ? [] : [call('tier', name, String(delaySeconds))]),
        ...vms.map((vm) => call('start_vm', vm.uuid, vm.nameLabel)),
      ]),
      ...recovery.protectedByHa.map(({ uuid, priority }) => call('protect_vm', uuid, priority)),
    ]),
    tail,
  ].join('\n')}\n`;
}

function head({ group, pointId, takenAt, site, srs }: XeRecovery): string[] {
  return [
    '#!/bin/sh',
    comment(`Brings group ${group} up at site ${site} with xe alone, from recovery point ${pointId}`),
    comment(
      `of ${formatInstant(takenAt)}. Run it as root on the coordinator of the recovery pool, beside its files:`,
    ),
    comment('    sh recover.sh all      or one after the other: check, storage, import, start'),
    comment('It may be run again: what was done is left as it is.'),
    '#',
    comment('FIRST: make sure that none of these VMs runs at the other site, and that nobody writes there.'),
    ...srs.flatMap(({ nameLabel, volume }) =>
      volume === null ? [] : [comment(`THEN: make the replica of SR ${nameLabel} writable: ${volume}`)],
    ),
    comment(
      'THEN: correct the addresses below: they are those of production, and the replicas live elsewhere.',
    ),
    'set -eu',
    'cd "$(dirname "$0")"',
    '',
  ];
}

/** The variable of a key of device_config. */
function variable(index: number, key: string): string {
  return `SR${index + 1}_${key.replace(/[^A-Za-z0-9_]/g, '_')}`;
}

function variables(sr: XeSr, index: number): string[] {
  return [
    comment(`SR ${sr.nameLabel}, of type ${sr.type}`),
    ...sr.places.flatMap(({ key, atProduction }) => [
      ...(atProduction === null ? [] : [comment(`at production ${key} is ${atProduction}`)]),
      `${variable(index, key)}=''`,
    ]),
    ...Object.entries(sr.options).map(([key, value]) => `${variable(index, key)}=${shellWord(value)}`),
    '',
  ];
}

function attach(sr: XeSr, index: number): string[] {
  const { uuid, nameLabel, nameDescription, type, contentType, shared, vdis } = sr;
  const keys = [...sr.places.map(({ key }) => key), ...Object.keys(sr.options), ...sr.secretKeys];
  const config = keys.map((key) => `${shellWord(`device-config:${key}=`)}"$${variable(index, key)}"`);
  return [
    ...sr.places.map(({ key }) => `need_value ${variable(index, key)} "$${variable(index, key)}"`),
    ...sr.secretKeys.map((key) => call('ask', variable(index, key), `${key} of SR ${nameLabel}`)),
    call('introduce_sr', uuid, nameLabel, nameDescription, type, contentType, String(shared)),
    [call('plug_sr', uuid, String(shared)), ...config].join(' '),
    ...vdis.map((vdi) => call('name_vdi', vdi.uuid, vdi.nameLabel, vdi.nameDescription)),
  ];
}

function part(name: string, lines: readonly string[]): string[] {
  return [`part_${name}() {`, ...(lines.length === 0 ? [':'] : lines).map((line) => `  ${line}`), '}', ''];
}

/** The master comes first everywhere: LVM SRs repair themselves only there. */
const helpers = `failed=0
say() { printf '%s\\n' "$*"; }
fail() { printf '%s\\n' "$*" >&2; failed=1; }

hosts() {
  master=$(xe pool-list params=master --minimal)
  printf '%s\\n' "$master"
  xe host-list --minimal | tr ',' '\\n' | grep -v -x -F "$master" || :
}

need_network() {
  found=$(xe network-list "name-label=$1" --minimal | tr ',' '\\n' | grep -c .) || :
  if [ "$found" -eq 1 ]; then say "network $1: there"; return; fi
  fail "network $1: there are $found of that name, and exactly one is needed. An import would guess one or make one that leads nowhere."
  exit 1
}

sure() {
  printf 'None of these VMs runs anywhere else, and nobody else writes to their storage. Type yes: ' >&2
  IFS= read -r answer || answer=''
  [ "$answer" = yes ] || { say 'Nothing was done.'; exit 1; }
}

ask() {
  eval "value=\\\${$1:-}"
  [ -z "$value" ] || return 0
  printf '%s: ' "$2" >&2
  stty -echo 2>/dev/null || :
  IFS= read -r value
  stty echo 2>/dev/null || :
  printf '\\n' >&2
  eval "$1=\\$value"
}

need_value() {
  [ -n "$2" ] || { fail "$1 is empty: write at the top of this script where the replica is"; exit 1; }
}

introduce_sr() {
  if [ -n "$(xe sr-list "uuid=$1" --minimal)" ]; then say "SR $2: known"; return; fi
  xe sr-introduce "uuid=$1" "name-label=$2" "type=$4" "content-type=$5" "shared=$6" >/dev/null
  xe sr-param-set "uuid=$1" "name-description=$3"
  say "SR $2: introduced"
}

plug_sr() {
  sr=$1 shared=$2
  shift 2
  for host in $(hosts); do
    pbd=$(xe pbd-list "sr-uuid=$sr" "host-uuid=$host" --minimal)
    [ -n "$pbd" ] || pbd=$(xe pbd-create "sr-uuid=$sr" "host-uuid=$host" "$@")
    if [ -z "$(xe pbd-list "uuid=$pbd" currently-attached=true --minimal)" ]; then
      xe pbd-plug "uuid=$pbd" || fail "host $host does not reach the SR: none of its VMs can run there"
    fi
    [ "$shared" = true ] || break
  done
  xe sr-scan "uuid=$sr"
  say "SR $sr: plugged and scanned"
}

name_vdi() {
  if [ -z "$(xe vdi-list "uuid=$1" --minimal)" ]; then fail "disk $2 ($1) is not on the replica: its VM will be refused"; return; fi
  xe vdi-param-set "uuid=$1" "name-label=$2" "name-description=$3"
}

import_vm() {
  if [ -n "$(xe vm-list "uuid=$2" --minimal)" ]; then say "VM $3: there"; return; fi
  if xe vm-import "filename=$1" metadata=true preserve=true >/dev/null; then say "VM $3: imported"; else fail "VM $3 was refused"; fi
}

make_appliance() {
  name=$1 description=$2
  shift 2
  vapp=$(xe appliance-list "name-label=$name" --minimal)
  [ -n "$vapp" ] || vapp=$(xe appliance-create "name-label=$name" "name-description=$description")
  for vm in "$@"; do xe vm-param-set "uuid=$vm" "appliance=$vapp" || fail "VM $vm is not put into vApp $name"; done
}

tier() {
  if [ -t 0 ]; then printf 'Tier %s: press Enter when all before it serves. ' "$1"; read -r _; else sleep "$2"; fi
}

start_vm() {
  if [ -n "$(xe vm-list "uuid=$1" power-state=running --minimal)" ]; then say "VM $2: runs"; return; fi
  if xe vm-start "uuid=$1"; then say "VM $2: started"; else fail "VM $2 does not start"; fi
}

protect_vm() {
  [ "$(xe pool-list params=ha-enabled --minimal)" = true ] || return 0
  xe vm-param-set "uuid=$1" "ha-restart-priority=$2" || fail "VM $1 is not protected by HA again"
}`;

const tail = `case "\${1:-}" in
  check) part_check ;;
  storage | import | start)
    sure
    "part_$1"
    ;;
  all)
    part_check
    sure
    part_storage
    part_import
    part_start
    ;;
  *)
    say "sh $0 all | check | storage | import | start"
    exit 2
    ;;
esac
exit "$failed"`;
