/** What migrate, reprotect and failback do beside the acts of a failover: stop, hand over, quarantine, turn round. */

export type MovingAction = never;

export type MovingCondition = never;
