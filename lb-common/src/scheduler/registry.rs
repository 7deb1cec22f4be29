//! The schedulers that there are: one line each, and a file here and in
//! lb-ebpf. `docs/adding-a-scheduler.md` shows how to add one.

/// Passes the registry to the macro `$with`: for each scheduler its number,
/// type, module (and name in `lbd.toml` and for ipvsadm's `-s`) and program.
///
/// The number is the plan's `scheduler` and the index of the program in
/// `STAGES`: below [`crate::abi::stage::DIRECTOR`], and never another
/// scheduler's later.
#[macro_export]
macro_rules! schedulers {
    ($with:ident) => {
        $with! {
            0 Rr rr schedule_rr;
            1 Wrr wrr schedule_wrr;
            2 Lc lc schedule_lc;
            3 Wlc wlc schedule_wlc;
            4 Lblc lblc schedule_lblc;
            5 Lblcr lblcr schedule_lblcr;
            6 Dh dh schedule_dh;
            7 Sh sh schedule_sh;
            8 Sed sed schedule_sed;
            9 Nq nq schedule_nq;
            10 Mh mh schedule_mh;
            11 Fo fo schedule_fo;
            12 Ovf ovf schedule_ovf;
            13 Twos twos schedule_twos;
        }
    };
}
