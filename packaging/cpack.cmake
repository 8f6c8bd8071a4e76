# Packages: `cpack -G DEB` and `cpack -G TGZ`; packaging/build.sh calls both.
set(debian ${CMAKE_CURRENT_LIST_DIR}/debian)
set(CPACK_PACKAGE_NAME mpu)
set(CPACK_PACKAGE_VENDOR mpu)
set(CPACK_PACKAGE_CONTACT "mpu maintainers <maintainers@mpu.dev>")
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_COMPONENTS_ALL mpu nvabi nvabi-dev)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/same-times.cmake)

set(CPACK_PACKAGE_FILE_NAME mpu-${PROJECT_VERSION}-linux-${CMAKE_SYSTEM_PROCESSOR})
set(CPACK_ARCHIVE_THREADS 1)

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SOURCE mpu)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(CPACK_DEBIAN_MPU_PACKAGE_NAME mpu)
set(CPACK_DEBIAN_MPU_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_MPU_PACKAGE_SUGGESTS "podman | docker.io | lxc")
set(CPACK_DEBIAN_MPU_PACKAGE_CONTROL_EXTRA ${debian}/postinst ${debian}/prerm ${debian}/postrm)
set(CPACK_COMPONENT_MPU_DESCRIPTION "GPU processes of a container, as it may see them
nvidia-smi, NVML and every other program that asks the NVIDIA driver in a
container shows the GPU processes of that container, under its own PIDs, with
their memory and utilisation. On every driver, with no kernel module, no host
PID namespace and no changed image.
.
mpu-run does it for a command, mpud for the containers of podman, Docker, LXC
and Kubernetes, to which mpu-hook and mpu-runtime lead them.")

set(CPACK_DEBIAN_NVABI_PACKAGE_NAME libnvabi${PROJECT_VERSION_MAJOR})
set(CPACK_DEBIAN_NVABI_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_NVABI_PACKAGE_CONTROL_EXTRA ${debian}/triggers)
set(CPACK_COMPONENT_NVABI_DESCRIPTION "ABI of the NVIDIA kernel driver, release by release
Escapes, UVM ioctls, controls and allocation classes of the NVIDIA driver by
name and number, with their parameters field by field, for every release.")

set(CPACK_DEBIAN_NVABI-DEV_PACKAGE_NAME libnvabi-dev)
set(CPACK_DEBIAN_NVABI-DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_NVABI-DEV_PACKAGE_SHLIBDEPS OFF)
set(CPACK_COMPONENT_NVABI-DEV_DESCRIPTION "ABI of the NVIDIA kernel driver (development files)
Escapes, UVM ioctls, controls and allocation classes of the NVIDIA driver by
name and number, with their parameters field by field, for every release.
.
This package holds the headers, the static library and an example.")
set(CPACK_PROJECT_CONFIG_FILE ${CMAKE_CURRENT_LIST_DIR}/cpack-run.cmake)
include(CPack)
