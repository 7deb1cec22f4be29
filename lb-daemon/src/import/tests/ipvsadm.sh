#!/bin/sh
# Starts the director.
VIP=192.0.2.10
export RIP1="10.0.0.1" RIP2='10.0.0.2'
ADM=/sbin/ipvsadm
case "$1" in
start)
    echo 1 > /proc/sys/net/ipv4/ip_forward
    ifconfig eth0:0 $VIP netmask 255.255.255.255
    iptables -t mangle -A PREROUTING -d $VIP -p tcp -m multiport --dports 21,1024:65535 -j MARK --set-mark 21
    iptables -t mangle -A PREROUTING -d $VIP -p udp -s 10.0.0.0/8 -j MARK --set-mark 21
    iptables -t mangle -A PREROUTING -d $1 -p tcp -j MARK --set-mark 21
    $ADM -C
    $ADM -A -f 21 -p 30
    $ADM -a -f 21 -r $RIP1 -g
    $ADM --set 800 0 100
    $ADM -A -t $VIP:80 -s wrr ; $ADM -A -t $VIP:443
    /usr/local/sbin/ipvsadm -a -t "${VIP}:80" -r $RIP1:8080 -g \
        -w 2
    sudo ipvsadm -a -t ${VIP}:443 -r $RIP2 -m >/dev/null 2>&1
    ipvsadm -a -t $VIP:443 -r $RIP3 -m
    for n in 3 4; do ipvsadm -a -t $VIP:80 -r 10.0.0.$n -g; done
    ipvsadm -E -t $VIP:443 -s mh -p
    ipvsadm -e -t $VIP:443 -r $RIP2 -m -w 9
    ipvsadm -A -t $VIP:80
    ipvsadm -a -t $VIP:80 -r $RIP1 -g
    ipvsadm -a -t $VIP:81 -r $RIP1 -g
    ipvsadm -e -t $VIP:80 -r 10.9.9.9 -g
    ipvsadm -E -t $VIP:82
    ipvsadm --start-daemon master --mcast-interface eth0
    ipvsadm -R < /etc/sysconfig/ipvsadm
    ipvsadm -Ln
    ;;
stop)
    ipvsadm -d -t $VIP:80 -r $RIP1
    $ADM -C
esac
