/** Rules that name VMs, as a person writes them; `scope.ts` matches them. */

/** Which VMs belong to a group. A VM is in when any include matches and no exclude does. */
export interface ScopeRules {
  readonly include: ScopeMatch;
  readonly exclude: ScopeMatch;
}
export interface ScopeMatch {
  /** Globs over the name label: `*`, `?`, `[a-z]`, `{a,b}`. */
  readonly names: readonly string[];
  /** Regular expressions over the name label, anchored at both ends. */
  readonly patterns: readonly string[];
  readonly tags: readonly string[];
  /** Folder of XenCenter (`other_config.folder`), itself or below. */
  readonly folders: readonly string[];
  /** SR by name label or uuid: every VM with a disk there. */
  readonly srs: readonly string[];
  readonly uuids: readonly string[];
}
