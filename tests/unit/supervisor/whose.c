#include "supervisor/gpus/whose.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define ID    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

Test(whose, a_container_is_found_by_what_each_engine_writes)
{
	static const struct {
		const char *cgroup, *engine, *id, *pod;
	} known[] = {
	    {"0::/system.slice/docker-" ID ".scope\n", "docker", ID, ""},
	    {"12:pids:/docker/" ID "\n11:memory:/docker/" ID "\n", "docker", ID, ""},
	    {"0::/machine.slice/libpod-" ID ".scope/container\n", "podman", ID, ""},
	    {"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" ID ".scope\n",
	     "podman", ID, ""},
	    {"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod11aa_22bb.slice/"
	     "cri-containerd-" ID ".scope\n",
	     "containerd", ID, "11aa-22bb"},
	    {"0::/kubepods.slice/kubepods-pod11aa_22bb.slice/crio-" ID ".scope\n", "cri-o", ID,
	     "11aa-22bb"},
	    {"4:memory:/kubepods/besteffort/pod11aa-22bb/" ID "\n", "kubernetes", ID, "11aa-22bb"},
	    {"0::/system.slice/containerd.service/kubepods-besteffort-pod11aa_22bb.slice:cri-"
	     "containerd:" ID "\n",
	     "containerd", ID, "11aa-22bb"},
	    {"0::/default/" ID "\n", "oci", ID, ""},
	    {"0::/lxc.payload.web\n", "lxc", "web", ""},
	    {"0::/lxc.payload.web/system.slice/ssh.service\n", "lxc", "web", ""},
	    {"3:cpu:/lxc/web\n", "lxc", "web", ""},
	    /* The innermost one: a container in a container. */
	    {"0::/docker/" ID "/kubelet/kubepods/pod1/" OTHER "\n", "kubernetes", OTHER, "1"},
	    /* In the first hierarchy that has one. */
	    {"2:name=systemd:/\n1:cpu:/docker/" ID "\n0::/\n", "docker", ID, ""},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		struct whose whose = {.known = NULL};

		cr_expect(whose_parse_cgroup(known[i].cgroup, &whose), "%s", known[i].cgroup);
		cr_expect_str_eq(whose.engine, known[i].engine, "%s: %s", known[i].cgroup,
				 whose.engine);
		cr_expect_str_eq(whose.id, known[i].id, "%s: %s", known[i].cgroup, whose.id);
		cr_expect_str_eq(whose.pod, known[i].pod, "%s: %s", known[i].cgroup, whose.pod);
	}
}

Test(whose, what_is_no_container_is_none)
{
	static const char *const known[] = {
	    "",
	    "\n",
	    "::",
	    "0::/",
	    "0::/init.scope\n",
	    "0::/system.slice/docker.service\n",
	    "0::/machine.slice/libpod-conmon-" ID ".scope\n",
	    "0::/system.slice/docker-0123456789abcdef.scope\n",
	    "0::/docker/" ID "0\n",
	    "0::/docker/"
	    "G123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n",
	    "no colon at all " ID "\n",
	    "0::/lxc\n",
	    "0::/lxc.payload.\n",
	    "0::/lxc.monitor.web\n",
	    "0::/kubepods.slice/kubepods-burstable.slice\n",
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		struct whose whose = {.known = NULL};

		cr_expect(!whose_parse_cgroup(known[i], &whose), "%s", known[i]);
		cr_expect_str_eq(whose.id, "", "%s: %s", known[i], whose.id);
	}
}

Test(whose, long_components_are_cut_and_never_overflow)
{
	char text[8192];
	struct whose whose = {.known = NULL};

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	memcpy(text, "0::/lxc.payload.", 16);
	cr_expect(whose_parse_cgroup(text, &whose));
	cr_expect_eq(strlen(whose.id), WHOSE_TEXT - 1);
	memcpy(text, "0::/kubepods/pod", 16);
	whose = (struct whose){.known = NULL};
	cr_expect(!whose_parse_cgroup(text, &whose));
	cr_expect_eq(strlen(whose.pod), WHOSE_TEXT - 1);
}

Test(whose, what_an_annotation_says_is_read_by_name)
{
	struct known_container container = {.pid = 0};

	whose_read_about(&container, "namespace=shop\npod=web-0\nmanager=x\nname=nginx\nlast=");
	cr_expect_str_eq(container.name, "nginx");
	cr_expect_str_eq(container.pod, "web-0");
	cr_expect_str_eq(container.namespace, "shop");
	whose_read_about(&container, "name");
	cr_expect_str_eq(container.name, "nginx");
}

Test(whose, a_name_that_would_draw_on_the_terminal_is_made_harmless)
{
	char name[WHOSE_ENGINE];

	prctl(PR_SET_NAME, "a\033[2J\n\"\xc3\xa4z");
	whose_process_name(getpid(), name);
	cr_expect_str_eq(name, "a?[2J?\"??z", "%s", name);
	whose_process_name(0x7fffffff, name);
	cr_expect_str_eq(name, "?");
}

Test(whose, a_container_without_namespace_is_found_by_its_ancestors)
{
	struct known_container known[] = {{.id = "another", .pid = 0x7ffffff0},
					  {.id = "mine", .pid = getppid()}};
	struct whose whose;

	for (size_t i = 0; i < 2; i++)
		whose_look_up(&known[i]);
	cr_assert(known[1].shares_pids);
	whose_find(getpid(), known, 2, &whose);
	cr_assert_not_null(whose.known);
	cr_expect_str_eq(whose.id, "mine");
	cr_expect_eq(whose.inside, getpid());
}
