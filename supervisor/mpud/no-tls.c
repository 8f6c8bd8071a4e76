/* Debian's libmicrohttpd.a was built with TLS, and refers to GnuTLS, which cannot be linked statically
 * there: libgnutls.a wants libp11-kit, of which there is no archive. mpud never asks for TLS (metrics
 * stay on the machine), so that only the library's start and end come here; whoever got to any other
 * function would be talking TLS without a TLS library, and ends. */
#include <stdlib.h>

int gnutls_global_init(void);
void gnutls_global_deinit(void);
void no_tls(void);

/* What GnuTLS allocates with. */
extern void *(*gnutls_malloc)(size_t size);
void *(*gnutls_malloc)(size_t size) = malloc;

int gnutls_global_init(void)
{
	return 0;
}

void gnutls_global_deinit(void)
{
}

void no_tls(void)
{
	abort();
}

#define NO(name)                                                                                   \
	void name(void) __attribute__((alias("no_tls")));

NO(gnutls_alpn_set_protocols)
NO(gnutls_bye)
NO(gnutls_certificate_allocate_credentials)
NO(gnutls_certificate_free_credentials)
NO(gnutls_certificate_server_set_request)
NO(gnutls_certificate_set_dh_params)
NO(gnutls_certificate_set_retrieve_function2)
NO(gnutls_certificate_set_retrieve_function3)
NO(gnutls_certificate_set_x509_key_mem)
NO(gnutls_certificate_set_x509_key_mem2)
NO(gnutls_certificate_set_x509_trust_mem)
NO(gnutls_cipher_get)
NO(gnutls_credentials_set)
NO(gnutls_deinit)
NO(gnutls_dh_params_deinit)
NO(gnutls_dh_params_import_pkcs3)
NO(gnutls_dh_params_init)
NO(gnutls_handshake)
NO(gnutls_init)
NO(gnutls_priority_deinit)
NO(gnutls_priority_init)
NO(gnutls_priority_set)
NO(gnutls_protocol_get_version)
NO(gnutls_psk_allocate_server_credentials)
NO(gnutls_psk_free_server_credentials)
NO(gnutls_psk_set_server_credentials_function)
NO(gnutls_record_check_pending)
NO(gnutls_record_get_direction)
NO(gnutls_record_recv)
NO(gnutls_record_send)
NO(gnutls_session_get_ptr)
NO(gnutls_session_set_ptr)
NO(gnutls_strerror)
NO(gnutls_transport_set_int2)
