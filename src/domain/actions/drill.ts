/** What only a drill does: copies of the replica and of the VMs, evidence, and the clean-up. */

export type DrillAction = never;

export type DrillCondition = never;
