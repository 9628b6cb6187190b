# Install and export of libstagformer: find_package(stagformer) gives stagformer::stagformer.
include(CMakePackageConfigHelpers)
install(TARGETS stagformer EXPORT stagformerTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/stagformer DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT stagformerTargets NAMESPACE stagformer:: FILE stagformerConfig.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/stagformer)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/stagformerConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/stagformerConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/stagformer)
