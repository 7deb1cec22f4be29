//! What `-h` and `--version` print. The first line is the original's, because
//! scripts look for it; the help describes the same options in our words.

pub(super) const VERSION: &str = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n";

/// Behind [`VERSION`].
pub(super) const USAGE: &str = "\
Usage:
  ipvsadm -A|E SERVICE [-s scheduler] [-b flags] [-p [seconds]] [-M netmask] [-o]
  ipvsadm -D SERVICE
  ipvsadm -a|e SERVICE -r SERVER [-g|-i|-m] [-w weight] [-x upper] [-y lower] [tunnel]
  ipvsadm -d SERVICE -r SERVER
  ipvsadm -L|l [SERVICE | -c | --timeout | --daemon] [options]
  ipvsadm -Z [SERVICE]
  ipvsadm -C
  ipvsadm -S [-n]
  ipvsadm -R
  ipvsadm --set tcp tcpfin udp
  ipvsadm -h | -v

Commands, short or long:
  -A  --add-service      a virtual service
  -E  --edit-service     what is not named gets its default
  -D  --delete-service   with its real servers
  -a  --add-server       a real server
  -e  --edit-server      what is not named gets its default
  -d  --delete-server
  -L  --list             also -l
  -Z  --zero             counters, of one service or of all
  -C  --clear            deletes every service
  -S  --save             prints what -R reads
  -R  --restore          reads commands from standard input
      --set              timeouts in seconds; 0 leaves one as it is

SERVICE:
  -t  --tcp-service address:port
  -u  --udp-service address:port
      --sctp-service address:port
  -f  --fwmark-service mark, with -6 (--ipv6) behind it for IPv6

SERVER: address[:port]; only -m can have another port than the service

Services:
  -s  --scheduler        wlc unless named
  -b  --sched-flags      sh-fallback,sh-port or mh-fallback,mh-port
  -p  --persistent       360 seconds unless given
  -M  --netmask          clients that stay together: 255.255.255.0, or a prefix's length for IPv6
  -o  --ops              every datagram is scheduled
      --pe               there is none

Real servers:
  -g  --gatewaying       direct routing; the default
  -i  --ipip             tunnel
  -m  --masquerading     NAT
  -w  --weight           1 unless given; 0 takes no new connections
  -x  --u-threshold      connections from which on it gets no more
  -y  --l-threshold      below so many it gets some again
      --tun-type         ipip, gue or gre
      --tun-port         of gue
      --tun-nocsum       gue, gre: without a checksum; the default
      --tun-csum         gue, gre: with one

Lists:
  -n  --numeric          no names
  -c  --connection       connections
      --stats            counters
      --rate             their growth in a second
      --thresholds
      --persistent-conn
      --tun-info         tunnels
  -X  --exact            counters in full
      --nosort           in the order of configuration
      --timeout          what --set sets
      --daemon           connection synchronisation: there is none
";
