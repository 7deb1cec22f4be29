//! `lbctl ipvsadm`: the command line of ipvsadm 1.31 on a running lbd, for
//! scripts that have `ipvsadm` in them.

mod bodies;
mod help;
mod order;
mod print;
mod run;
mod save;

pub(super) use self::run::run;
