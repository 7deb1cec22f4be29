//! What building, showing and testing need, and where to get it.

use lb_tests::python;

use super::{compiler, kernel, programs, schemathesis};

/// What a requirement is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Compiling lbd, its XDP programs and the tests.
    Build,
    /// The demo's and the tests' networks.
    Run,
    /// What lbd is measured beside.
    Compare,
    /// The virtual machine.
    Vm,
    /// The kernel that it runs unless another one is named.
    VmKernel,
}

impl Purpose {
    pub(crate) const ALL: [Self; 5] = [
        Self::Build,
        Self::Run,
        Self::Compare,
        Self::Vm,
        Self::VmKernel,
    ];
}

/// Something that must be there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Requirement {
    /// A compiler with its library's source.
    BpfCompiler,
    /// The linker that makes a BPF object of the compiler's output.
    BpfLinker,
    /// A program of the networks or of the virtual machine.
    Program(&'static Program),
    /// What gRPC servers are made of: a module of the system's Python.
    PythonGrpc,
    /// What asks the API what its document has.
    Schemathesis,
    /// The virtual machine's kernel.
    VmKernel,
}

/// A program and the Debian package that has it.
#[derive(Debug)]
pub(crate) struct Program {
    name: &'static str,
    package: &'static str,
    used_for: &'static str,
    purpose: Purpose,
}

/// What the demo and the end-to-end tests start.
static PROGRAMS: [Program; 17] = [
    program("ip", "iproute2", "namespaces, links, routes"),
    program("ethtool", "ethtool", "switching offloads off"),
    program("nginx", "nginx-light", "the reals' web servers"),
    program("curl", "curl", "the clients"),
    program("ping", "iputils-ping", "traffic that is for no service"),
    program("tcpdump", "tcpdump", "looking at the wire"),
    program("tshark", "tshark", "reading what was seen on the wire"),
    program("named", "bind9", "a UDP service"),
    program("dig", "bind9-dnsutils", "the UDP service's clients"),
    program("vsftpd", "vsftpd", "the reals' FTP servers"),
    program("lftp", "lftp", "the FTP servers' clients"),
    program("openssl", "openssl", "the web servers' certificates"),
    program("smtpd", "opensmtpd", "the reals' mail servers"),
    program(
        "redis-server",
        "redis-server",
        "the reals' key-value stores",
    ),
    program("redis-cli", "redis-tools", "the key-value stores' clients"),
    program("mariadbd", "mariadb-server", "the reals' databases"),
    program("mariadb", "mariadb-client", "the databases' clients"),
];

/// What `cargo xtask bench compare` starts besides.
static COMPARED: [Program; 3] = [
    Program {
        purpose: Purpose::Compare,
        ..program("nft", "nftables", "balancing by the kernel's NAT")
    },
    Program {
        purpose: Purpose::Compare,
        ..program("haproxy", "haproxy", "balancing by a proxy")
    },
    Program {
        purpose: Purpose::Compare,
        ..program("wrk", "wrk", "requests by the thousand")
    },
];

/// What the virtual machine takes, before and after it has started.
static VM_PROGRAMS: [Program; 2] = [
    Program {
        purpose: Purpose::Vm,
        ..program(
            "qemu-system-x86_64",
            "qemu-system-x86",
            "the virtual machine",
        )
    },
    Program {
        purpose: Purpose::Vm,
        ..program("modprobe", "kmod", "the virtual machine's modules")
    },
];

const fn program(name: &'static str, package: &'static str, used_for: &'static str) -> Program {
    Program {
        name,
        package,
        used_for,
        purpose: Purpose::Run,
    }
}

impl Requirement {
    /// All of them.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![Self::BpfCompiler, Self::BpfLinker];
        let programs = PROGRAMS.iter().chain(&COMPARED).chain(&VM_PROGRAMS);
        all.extend(programs.map(Self::Program));
        all.push(Self::PythonGrpc);
        all.push(Self::Schemathesis);
        // The last one: not every archive has it, and the rest does not need it.
        all.push(Self::VmKernel);
        all
    }

    pub(crate) fn purpose(self) -> Purpose {
        match self {
            Self::BpfCompiler | Self::BpfLinker => Purpose::Build,
            Self::Program(program) => program.purpose,
            Self::PythonGrpc | Self::Schemathesis => Purpose::Run,
            Self::VmKernel => Purpose::VmKernel,
        }
    }

    pub(crate) fn is_met(self) -> bool {
        match self {
            Self::BpfCompiler => compiler::is_found(),
            Self::BpfLinker => programs::find("bpf-linker").is_some(),
            Self::Program(program) => programs::find(program.name).is_some(),
            Self::PythonGrpc => python::has("grpc"),
            Self::Schemathesis => schemathesis::is_installed(),
            Self::VmKernel => kernel::is_unpacked(),
        }
    }

    /// What it is, for a list.
    pub(crate) fn what(self) -> String {
        match self {
            Self::BpfCompiler => {
                "a Rust compiler with its library's source (for the XDP programs)".to_owned()
            }
            Self::BpfLinker => "bpf-linker (for the XDP programs)".to_owned(),
            Self::Program(program) => format!("{} ({})", program.name, program.used_for),
            Self::PythonGrpc => "Python's gRPC (the reals' gRPC servers)".to_owned(),
            Self::Schemathesis => {
                format!("schemathesis {} (the API's tests)", schemathesis::VERSION)
            }
            Self::VmKernel => format!("Linux {} (for the virtual machine)", kernel::SERIES),
        }
    }

    /// The Debian packages that it takes.
    pub(crate) fn packages(self) -> Vec<&'static str> {
        match self {
            Self::BpfCompiler => vec!["rustc-web", "rust-web-src"],
            // LLVM itself, and what linking against it takes.
            Self::BpfLinker => vec!["llvm-22-dev", "libpolly-22-dev", "libzstd-dev", "g++"],
            Self::Program(program) => vec![program.package],
            Self::PythonGrpc => vec!["python3-grpcio"],
            Self::Schemathesis => vec!["python3-venv"],
            // Unpacked, not installed.
            Self::VmKernel => Vec::new(),
        }
    }

    /// How to get it where we cannot.
    pub(crate) fn elsewhere(self) -> String {
        match self {
            Self::BpfCompiler => "rustup toolchain install nightly --component rust-src".to_owned(),
            Self::BpfLinker => {
                "install LLVM's development files, then cargo install bpf-linker".to_owned()
            }
            Self::Program(program) => format!(
                "install your system's package of {} (Debian's is {})",
                program.name, program.package
            ),
            Self::PythonGrpc => format!(
                "install your system's package of gRPC for {} (Debian's is python3-grpcio)",
                python::PROGRAM
            ),
            Self::Schemathesis => format!(
                "python3 -m venv target/schemathesis && \
                 target/schemathesis/bin/pip install schemathesis=={}",
                schemathesis::VERSION
            ),
            Self::VmKernel => format!(
                "unpack Debian's linux-image-{}.*-amd64 and name the directory: \
                 cargo xtask vm --kernel DIR",
                kernel::SERIES
            ),
        }
    }
}
