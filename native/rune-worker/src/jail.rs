//! What the worker does to itself before it reads anything.

use serde_json::{Value as Json, json};

/// Give up everything that a worker does not need; gives a report, see the README.
#[must_use]
pub fn enter() -> Json {
    imp::enter()
}

/// The report of a worker that did nothing to itself.
#[must_use]
pub fn none() -> Json {
    report("off", "off", "off")
}

fn report(privileges: &str, landlock: &str, seccomp: &str) -> Json {
    json!({"no_new_privileges": privileges, "landlock": landlock, "seccomp": seccomp})
}

#[cfg(not(target_os = "linux"))]
mod imp {
    pub fn enter() -> serde_json::Value {
        super::none()
    }
}

#[cfg(target_os = "linux")]
mod imp {
    use std::collections::BTreeMap;
    use std::env::consts::ARCH;

    use landlock::{
        ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr,
        RulesetStatus,
    };
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

    pub fn enter() -> serde_json::Value {
        let privileges = rustix::thread::set_no_new_privs(true).map_err(|error| error.to_string());
        super::report(
            &text(privileges),
            &text(without_files()),
            &text(few_system_calls()),
        )
    }

    fn text(result: Result<(), String>) -> String {
        result.err().unwrap_or_else(|| "on".to_owned())
    }

    /// No file can be opened, and no socket connected, from now on.
    fn without_files() -> Result<(), String> {
        let abi = ABI::V5;
        let status = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(abi))
            .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(abi)))
            .and_then(Ruleset::create)
            .and_then(landlock::RulesetCreated::restrict_self)
            .map_err(|error| error.to_string())?;
        match status.ruleset {
            RulesetStatus::NotEnforced => Err("the kernel has no Landlock".into()),
            _ => Ok(()),
        }
    }

    /// Only what a thread that computes, and reads and writes pipes, asks the kernel for.
    ///
    /// Anything else fails with `EPERM`. There is no network, no program, no file, no other
    /// process; threads were started before, though they may still be on their way.
    fn few_system_calls() -> Result<(), String> {
        let allowed = [
            libc::SYS_brk,
            libc::SYS_clock_gettime,
            libc::SYS_clock_nanosleep,
            libc::SYS_close,
            libc::SYS_exit,
            libc::SYS_exit_group,
            libc::SYS_futex,
            libc::SYS_getpid,
            libc::SYS_getrandom,
            libc::SYS_gettid,
            libc::SYS_madvise,
            libc::SYS_mmap,
            libc::SYS_mprotect,
            libc::SYS_mremap,
            libc::SYS_munmap,
            libc::SYS_nanosleep,
            #[cfg(target_arch = "x86_64")]
            libc::SYS_poll,
            libc::SYS_ppoll,
            libc::SYS_read,
            libc::SYS_readv,
            libc::SYS_restart_syscall,
            libc::SYS_rseq,
            libc::SYS_rt_sigaction,
            libc::SYS_rt_sigprocmask,
            libc::SYS_rt_sigreturn,
            libc::SYS_sched_getaffinity,
            libc::SYS_sched_yield,
            libc::SYS_set_robust_list,
            libc::SYS_sigaltstack,
            libc::SYS_tgkill,
            libc::SYS_write,
            libc::SYS_writev,
        ];
        let rules: BTreeMap<i64, Vec<seccompiler::SeccompRule>> =
            allowed.into_iter().map(|call| (call, Vec::new())).collect();
        let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
        let machine = ARCH
            .try_into()
            .map_err(|_| format!("no filter for {ARCH}"))?;
        let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, machine)
            .map_err(|error| error.to_string())?;
        let program: BpfProgram = filter
            .try_into()
            .map_err(|error: seccompiler::BackendError| error.to_string())?;
        seccompiler::apply_filter_all_threads(&program).map_err(|error| error.to_string())
    }
}
