// Command whoami answers requests with the name of the pod it runs in.
//
// It is a stand-in for the image traefik/whoami where no registry can be reached. Over HTTP it
// answers every path with the host name, the addresses, the client's address and the received
// request, in the lines and the order of traefik/whoami, and like traefik/whoami it waits before
// it answers a request with ?wait=DURATION. Unlike traefik/whoami it also answers datagrams to the
// same UDP port, with the lines "Hostname:" and "RemoteAddr:".
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	port := flag.Int("port", 80, "port to answer on, over TCP and UDP")
	flag.Parse()
	log.SetFlags(log.LstdFlags | log.Lmicroseconds)

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		os.Exit(0)
	}()

	if err := run(*port); err != nil {
		log.Fatal(err)
	}
}

// run answers on the port until one of the two listeners fails.
func run(port int) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	identity := describe(host, addresses)

	listener, err := net.ListenTCP("tcp", &net.TCPAddr{Port: port})
	if err != nil {
		return err
	}
	packets, err := net.ListenUDP("udp", &net.UDPAddr{Port: port})
	if err != nil {
		return err
	}
	log.Printf("%s answers on port %d, TCP and UDP", host, port)

	failed := make(chan error, 2)
	go func() { failed <- answerDatagrams(packets, host) }()
	// No timeouts: a client may keep an idle connection open for longer than the affinity timeout,
	// and the server must not close it.
	server := &http.Server{Handler: answer(identity)}
	go func() { failed <- server.Serve(listener) }()
	return <-failed
}

// describe returns the part of the answer that is the same for every client.
func describe(host string, addresses []net.Addr) string {
	var text strings.Builder
	fmt.Fprintf(&text, "Hostname: %s\n", host)
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok {
			fmt.Fprintf(&text, "IP: %s\n", network.IP)
		}
	}
	return text.String()
}

// answer returns a handler that writes the identity of this pod and the received request.
func answer(identity string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// An invalid duration is ignored.
		if wait, err := time.ParseDuration(r.URL.Query().Get("wait")); err == nil {
			time.Sleep(wait)
		}
		var body bytes.Buffer
		fmt.Fprintf(&body, "%sRemoteAddr: %s\n", identity, r.RemoteAddr)
		fmt.Fprintf(&body, "%s %s %s\r\n", r.Method, r.RequestURI, r.Proto)
		fmt.Fprintf(&body, "Host: %s\r\n", r.Host)
		for _, agent := range r.Header["User-Agent"] {
			fmt.Fprintf(&body, "User-Agent: %s\r\n", agent)
		}
		// Writing to a buffer does not fail; WriteSubset sorts the other headers by name.
		_ = r.Header.WriteSubset(&body, map[string]bool{"User-Agent": true})
		fmt.Fprint(&body, "\r\n")

		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if _, err := io.Copy(w, &body); err != nil {
			log.Printf("%s: %v", r.RemoteAddr, err)
		}
	})
}

// answerDatagrams sends one answer to every datagram, whatever its content.
func answerDatagrams(packets *net.UDPConn, host string) error {
	datagram := make([]byte, 64*1024)
	for {
		_, client, err := packets.ReadFromUDPAddrPort(datagram)
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			log.Printf("UDP: %v", err)
			continue
		}
		// The socket is dual-stack, so an IPv4 client has an address like ::ffff:10.10.0.6.
		shown := net.UDPAddr{IP: client.Addr().Unmap().AsSlice(), Port: int(client.Port())}
		text := fmt.Sprintf("Hostname: %s\nRemoteAddr: %s\n", host, shown.String())
		if _, err := packets.WriteToUDPAddrPort([]byte(text), client); err != nil {
			log.Printf("UDP %s: %v", client, err)
		}
	}
}
