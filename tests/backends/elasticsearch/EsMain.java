package node;

import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.PluginBundle;
import org.elasticsearch.plugins.PluginsLoader;

/** EsMain HOME WORK HTTP_PORT TRANSPORT_PORT: one node with HOME/modules loaded as in a distribution, all it writes under WORK. */
public class EsMain {
  public static void main(String[] arguments) throws Exception {
    Path home = Path.of(arguments[0]).toAbsolutePath();
    Path work = Path.of(arguments[1]).toAbsolutePath();
    LogConfigurator.configureESLogging();
    Settings settings = Settings.builder()
        .put("cluster.name", "theodore")
        .put("node.name", "only")
        .put("path.home", home.toString())
        .put("path.data", work.resolve("data").toString())
        .put("path.logs", work.resolve("logs").toString())
        .put("network.host", "127.0.0.1")
        .put("http.port", arguments[2])
        .put("transport.port", arguments[3])
        .put("discovery.type", "single-node")
        .put("cluster.routing.allocation.disk.threshold_enabled", false)
        .build();
    Environment environment = new Environment(settings, work.resolve("config"));
    Set<PluginBundle> modules = PluginsLoader.loadModulesBundles(home.resolve("modules"));
    Node node = new Node(environment, PluginsLoader.createPluginsLoader(modules, Set.of(), Map.of(), Node.class.getModule().isNamed()));
    node.start();
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      try {
        node.close();
      } catch (Exception ignored) {
        // It ends either way.
      }
    }));
    new CountDownLatch(1).await();
  }
}
