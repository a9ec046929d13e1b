/** What verify does: replication held against the RPO, the catalog read back, the sites compared. */

export type VerifyAction = never;

export type VerifyCondition = never;
